"""Our own batch scripts, run by a real bash on a real disk: they do their work, or say why not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import script
from airflow_provider_firecrest.client.fileops import scripts
from airflow_provider_firecrest.client.fileops.operation import FileOperation, Kind

ODD_NAMES = [
    "a b",
    "it's",
    'say "x"',
    "$(touch hacked)",
    "`touch hacked`",
    "-rf",
    "a\nb",
    "größe",
    "a&b;c",
    "*",
]


def operation(kind: Kind, source: Path, result: Path | str = "", **changes: Any) -> FileOperation:
    target = str(result or source)
    values = {"target": target if result else "", "result": target, "system": "s", "way": "script"}
    return FileOperation(kind=kind, source=str(source), name="n", **{**values, **changes})


def run(text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory.parent / "job.sh"
    file.write_text(text)
    return subprocess.run(
        ["bash", str(file)],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    found = tmp_path / "disk"
    found.mkdir()
    return found


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("kind", ["mv", "cp", "rm", "compress"])
def test_no_name_is_taken_for_anything_but_a_name(disk: Path, kind: Kind, name: str) -> None:
    source, target = disk / name, disk / f"{name} 2"
    source.write_text("content")
    done = run(scripts.batch_script(operation(kind, source, "" if kind == "rm" else target)), disk)
    assert done.returncode == 0, done.stderr
    assert source.exists() is (kind in ("cp", "compress"))
    assert target.exists() is (kind != "rm")
    if kind in ("mv", "cp"):
        assert target.read_text() == "content"
    assert {path.name for path in disk.iterdir()} <= {name, f"{name} 2"}


@pytest.mark.parametrize("kind", ["mv", "cp", "rm", "compress", "extract", "rsync"])
def test_a_missing_source_is_an_exit_code_and_a_sentence(disk: Path, kind: Kind) -> None:
    done = run(scripts.batch_script(operation(kind, disk / "no", "" if kind == "rm" else disk / "x")), disk)
    assert done.returncode == scripts.NO_SOURCE
    assert f"there is no {disk / 'no'}" in done.stderr
    assert list(disk.iterdir()) == []


def test_a_missing_path_may_be_fine_to_remove(disk: Path) -> None:
    assert run(scripts.batch_script(operation("rm", disk / "no", missing_ok=True)), disk).returncode == 0


def test_a_broken_link_is_there(disk: Path) -> None:
    (disk / "link").symlink_to("nowhere")
    assert run(scripts.batch_script(operation("mv", disk / "link", disk / "moved")), disk).returncode == 0
    assert (disk / "moved").is_symlink()


@pytest.mark.parametrize("kind", ["mv", "cp"])
def test_nothing_goes_into_a_directory_that_has_appeared_meanwhile(disk: Path, kind: Kind) -> None:
    (disk / "file").write_text("x")
    (disk / "there").mkdir()
    done = run(scripts.batch_script(operation(kind, disk / "file", disk / "there")), disk)
    assert done.returncode != 0
    assert list((disk / "there").iterdir()) == []


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", "none"])
def test_an_archive_comes_back_as_it_went_in(disk: Path, compression: str) -> None:
    (disk / "tree" / "sub").mkdir(parents=True)
    (disk / "tree" / "sub" / "f").write_text("x")
    (disk / "out").mkdir()
    pack = operation("compress", disk / "tree", disk / "t", compression=compression)
    unpack = operation("extract", disk / "t", disk / "out", compression=compression)
    for each in (pack, unpack):
        done = run(scripts.batch_script(each), disk)
        assert done.returncode == 0, done.stderr
    assert (disk / "out" / "tree" / "sub" / "f").read_text() == "x"


def test_an_archive_that_fails_leaves_nothing(disk: Path) -> None:
    (disk / "tree").mkdir()
    (disk / "closed").mkdir()
    done = run(scripts.batch_script(operation("compress", disk / "tree", disk / "no" / "t")), disk)
    assert done.returncode != 0
    assert sorted(path.name for path in disk.iterdir()) == ["closed", "tree"]


def test_a_dependency_is_one_that_ends_the_job_when_it_fails(disk: Path) -> None:
    text = scripts.batch_script(
        operation("rm", disk / "x", after_job_id="12", time_limit="5", partition="xfer")
    )
    assert script.directives(text) == {
        "nodes": "1",
        "ntasks": "1",
        "time": "5",
        "partition": "xfer",
        "dependency": "afterok:12",
        "kill-on-invalid-dep": "yes",
    }


class TestComparing:
    """Large directories and files are compared where they are."""

    @pytest.fixture
    def trees(self, disk: Path) -> tuple[Path, Path]:
        for name in ("one", "other"):
            (disk / name / "sub").mkdir(parents=True)
            (disk / name / "sub" / "f\n2").write_text("12345")
            (disk / name / "l").symlink_to("sub")
        return disk / "one", disk / "other"

    def compare(self, trees: tuple[Path, Path], *, exact: bool) -> subprocess.CompletedProcess[str]:
        return run(scripts.compare_trees(str(trees[0]), f"{trees[1]}/", exact=exact), trees[0].parent)

    @pytest.mark.parametrize("exact", [True, False])
    def test_equal_trees_are_equal(self, trees: tuple[Path, Path], exact: bool) -> None:
        assert self.compare(trees, exact=exact).returncode == 0

    @pytest.mark.parametrize("exact", [True, False])
    def test_a_missing_and_a_shorter_file_are_found(self, trees: tuple[Path, Path], exact: bool) -> None:
        (trees[1] / "sub" / "f\n2").write_text("1234")
        done = self.compare(trees, exact=exact)
        assert done.returncode == 1
        assert scripts.DIFFERENT in done.stdout
        (trees[1] / "sub" / "f\n2").unlink()
        assert self.compare(trees, exact=exact).returncode == 1

    def test_more_than_the_source_has_counts_when_it_must_be_exact(self, trees: tuple[Path, Path]) -> None:
        (trees[1] / "more").touch()
        assert self.compare(trees, exact=True).returncode == 1
        assert self.compare(trees, exact=False).returncode == 0

    def test_a_tree_that_cannot_be_read_is_not_equal(self, trees: tuple[Path, Path]) -> None:
        done = run(scripts.compare_trees(str(trees[0]), "/no/such", exact=False), trees[0])
        assert done.returncode not in (0, 66)
        assert scripts.DIFFERENT not in done.stdout

    def test_files_are_compared_byte_by_byte(self, disk: Path) -> None:
        for name, content in (("a", "same"), ("b", "same"), ("c", "sam3")):
            (disk / name).write_text(content)
        assert run(scripts.compare_files(str(disk / "a"), str(disk / "b")), disk).returncode == 0
        differs = run(scripts.compare_files(str(disk / "a"), str(disk / "c")), disk)
        assert differs.returncode == 1
        assert scripts.DIFFERENT in differs.stdout
        missing = run(scripts.compare_files(str(disk / "a"), str(disk / "no")), disk)
        assert missing.returncode == 1
        assert scripts.DIFFERENT not in missing.stdout
