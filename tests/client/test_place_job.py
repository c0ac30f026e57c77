"""The script that gives an uploaded file its name, run by bash as the job would run it, on a real disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client.transfers.atomic import place_job
from airflow_provider_firecrest.client.transfers.steps import job_frame
from tests.odd_names import ODD_NAMES

NEW = b"what was sent\n"
OLD = b"what was there\n"
NAMES = ["plain.dat", *ODD_NAMES, "n" * 255]


class Placing:
    """A job's directory with a file in it, beside the file to be."""

    def __init__(self, base: Path, name: str = "data", content: bytes = NEW) -> None:
        self.base, self.target = base, base / name
        self.work = base / ".firecrest-x"
        self.work.mkdir(mode=0o700)
        self.new = self.work / place_job.FILE
        self.new.write_bytes(content)

    def run(self, *, tools: Path | None = None, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Run the script; ``tools`` stand in front of the system's."""
        values = {
            "size": len(NEW),
            "sha256": hashlib.sha256(NEW).hexdigest(),
            "replace": False,
            "time_limit": "1",
            **changes,
        }
        script = place_job.place_script(str(self.target), str(self.work), **values)
        path = f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"]
        env = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7"}
        command = ["bash", "-c", script]
        return subprocess.run(
            command, cwd=self.work, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def places(self, **changes: Any) -> dict[str, str]:
        """Run it; it must give the file its name. Return its report."""
        done = self.run(**changes)
        assert done.returncode == 0, self.log()
        assert self.target.read_bytes() == NEW
        assert not self.new.exists()
        report = self.report()
        assert report["end"] == "yes"
        return report

    def refuses(self, key: str, **changes: Any) -> str:
        """Run it; it must say no under a key. Return what it says."""
        assert self.run(**changes).returncode == job_frame.REFUSED, self.log()
        assert self.new.exists()
        return self.report()[key]

    def report(self) -> dict[str, str]:
        return job_frame.read_report((self.work / "report").read_text())

    def log(self) -> str:
        return (self.work / "log").read_text()

    def beside(self) -> list[str]:
        return sorted(each.name for each in self.base.iterdir() if each != self.work)


def tool(folder: Path, name: str, commands: str) -> Path:
    """A directory with one tool in it that does something else; ``$real`` is the system's own."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/bash\nreal={shutil.which(name)}\n{commands}\n")
    path.chmod(0o755)
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A directory with nothing in it."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.mark.parametrize("replace", [False, True], ids=["new", "overwriting"])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_file_gets_whatever_name_it_is_to_have(disk: Path, name: str, replace: bool) -> None:
    placing = Placing(disk, name)
    if replace:
        placing.target.write_bytes(OLD)

    placing.places(replace=replace)

    assert placing.beside() == [name]


def test_a_new_file_has_the_permissions_that_it_was_written_with(disk: Path) -> None:
    placing = Placing(disk)
    placing.new.chmod(0o640)
    placing.places()
    assert placing.target.stat().st_mode & 0o7777 == 0o640
    assert placing.target.stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "directory", "pipe"])
def test_what_is_there_is_never_replaced_unless_that_is_allowed(disk: Path, kind: str) -> None:
    placing = Placing(disk)
    other = disk / "other"
    if kind == "link":
        other.write_bytes(OLD)
    makes = {
        "file": lambda: placing.target.write_bytes(OLD),
        "link": lambda: placing.target.symlink_to(other),
        "dangling link": lambda: placing.target.symlink_to(other),
        "directory": placing.target.mkdir,
        "pipe": lambda: os.mkfifo(placing.target),
    }
    makes[kind]()
    before = placing.target.lstat()

    assert "come into being" in placing.refuses(place_job.OCCUPIED)

    after = placing.target.lstat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )
    assert other.exists() is (kind == "link")


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_only_a_regular_file_is_overwritten(disk: Path, kind: str) -> None:
    placing = Placing(disk)
    (disk / "other").write_bytes(OLD)
    makes = {
        "link": lambda: placing.target.symlink_to(disk / "other"),
        "directory": placing.target.mkdir,
        "pipe": lambda: os.mkfifo(placing.target),
    }
    makes[kind]()
    before = placing.target.lstat().st_ino

    assert "regular file" in placing.refuses(place_job.OCCUPIED, replace=True)

    assert placing.target.lstat().st_ino == before
    assert (disk / "other").read_bytes() == OLD


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o000, 0o4755, 0o666])
def test_the_new_file_takes_the_permissions_of_the_one_it_replaces(disk: Path, mode: int) -> None:
    placing = Placing(disk)
    placing.target.write_bytes(OLD)
    placing.target.chmod(mode)

    assert placing.run(replace=True).returncode == 0, placing.log()

    # Bits that lend its owner's rights are not passed on to other bytes.
    assert placing.target.stat().st_mode & 0o7777 == mode & 0o777
    placing.target.chmod(0o600)
    assert placing.target.read_bytes() == NEW


def test_a_group_that_cannot_be_kept_is_told_and_no_other_gets_its_rights(disk: Path, tmp_path: Path) -> None:
    placing = Placing(disk)
    placing.target.write_bytes(OLD)
    placing.target.chmod(0o674)
    tools = tool(tmp_path / "tools", "chgrp", "exit 1")
    # Of each file another group.
    tool(tools, "stat", '[ "$2" = %g ] && exec sha256sum "${@: -1}"\nexec "$real" "$@"')

    report = placing.places(replace=True, tools=tools)

    assert report[place_job.KEPT] == "no"
    assert placing.target.stat().st_mode & 0o777 == 0o644


def test_where_the_old_file_has_an_acl_its_mask_does_not_become_the_groups_right(
    disk: Path, tmp_path: Path
) -> None:
    """With an ACL, the group's bits that everybody sees are the mask for all that it names."""
    placing = Placing(disk)
    placing.target.write_bytes(OLD)
    placing.target.chmod(0o664)
    tools = tool(tmp_path / "tools", "ls", 'echo "-rw-rw-r--+ 1 me mine 3 Jan 1 00:00 $3"')

    report = placing.places(replace=True, tools=tools)

    assert report[place_job.KEPT] == "no"
    assert placing.target.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("replace", [False, True], ids=["new", "overwriting"])
def test_a_file_of_another_size_or_content_gets_no_name(disk: Path, replace: bool) -> None:
    placing = Placing(disk, content=NEW[:-1])
    if replace:
        placing.target.write_bytes(OLD)
    said = placing.refuses(place_job.DIFFERS, replace=replace)
    assert said == f"{len(NEW) - 1} bytes instead of {len(NEW)}"
    assert [path.read_bytes() for path in disk.glob("data")] == [OLD] * replace


def test_a_changed_byte_is_noticed_by_the_digest_and_only_by_it(disk: Path) -> None:
    changed = NEW.replace(b"sent", b"bent")
    placing = Placing(disk, content=changed)
    said = placing.refuses(place_job.DIFFERS)
    assert said == (
        f"SHA-256 {hashlib.sha256(changed).hexdigest()} instead of {hashlib.sha256(NEW).hexdigest()}"
    )
    (placing.work / "claim" / "job").unlink()
    (placing.work / "claim").rmdir()

    assert placing.run(sha256=None).returncode == 0, placing.log()
    assert placing.target.read_bytes() == changed


class TestAFileSystemWithoutHardLinks:
    @pytest.fixture
    def tools(self, tmp_path: Path) -> Path:
        return tool(tmp_path / "tools", "ln", "echo 'ln: Operation not permitted' >&2; exit 1")

    def test_a_new_file_gets_its_name(self, disk: Path, tools: Path) -> None:
        Placing(disk).places(tools=tools)

    def test_what_is_there_is_not_replaced(self, disk: Path, tools: Path) -> None:
        placing = Placing(disk)
        placing.target.write_bytes(OLD)
        assert "come into being" in placing.refuses(place_job.OCCUPIED, tools=tools)
        assert placing.target.read_bytes() == OLD

    def test_what_appears_at_the_last_moment_is_not_replaced(self, disk: Path, tools: Path) -> None:
        """Between the look and the renaming somebody writes the file."""
        placing = Placing(disk)
        tool(tools, "mv", f'[ "$1" != -nT ] || echo theirs > "{placing.target}"\nexec "$real" "$@"')
        assert "come into being" in placing.refuses(place_job.OCCUPIED, tools=tools)
        assert placing.target.read_text() == "theirs\n"


def test_a_link_that_was_made_though_its_answer_was_lost_counts(disk: Path, tmp_path: Path) -> None:
    """NFS answers a repeated request that the name is there."""
    tools = tool(tmp_path / "tools", "ln", '"$real" "$@"; exit 1')
    Placing(disk).places(tools=tools)


def test_of_two_copies_only_one_works(disk: Path) -> None:
    placing = Placing(disk)
    placing.places()
    log = placing.log()
    placing.new.write_bytes(NEW)

    assert placing.run(replace=True).returncode == job_frame.TAKEN

    assert placing.new.exists()
    assert placing.log() == log
    assert (placing.work / job_frame.CLAIM).read_text() == "7\n"


def test_a_directory_that_is_closed_to_writing_fails_the_job_with_its_reason(
    disk: Path, tmp_path: Path
) -> None:
    placing = Placing(disk)
    tools = tool(tmp_path / "tools", "ln", "echo 'ln: Permission denied' >&2; exit 1")
    tool(tools, "mv", 'echo "mv: Permission denied" >&2; exit 1')
    assert placing.run(tools=tools).returncode not in (0, job_frame.REFUSED)
    assert "mv: Permission denied" in placing.log()
    assert not (placing.work / "report").exists()
    assert not placing.target.exists()
