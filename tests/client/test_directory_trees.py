"""A tree's digest and its archive. The oracles: GNU tar, the shell's half of the digest, and a walk of our
own."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import (
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    QuotaError,
)
from airflow_provider_firecrest.client.staging import TransferCancelledError
from airflow_provider_firecrest.client.transfers.directories import archive, tree_jobs
from airflow_provider_firecrest.client.transfers.directories.archive import pack, unpack
from airflow_provider_firecrest.client.transfers.directories.tree import (
    TreeDigest,
    digest_of,
    scan,
    stays_inside,
)
from airflow_provider_firecrest.client.transfers.steps import job_frame
from tests.trees import seen, written_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return written_tree(tmp_path / "tree")


def bash(script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", script], check=False, capture_output=True, timeout=60)


def measured_by_shell(root: Path, work: Path, *, archive: str | None = None) -> dict[str, str]:
    """What the job on the system says of a tree."""
    work.mkdir()
    script = tree_jobs.pack_script(
        str(root), str(work), archive=archive, contents=True, compression="none", time_limit="1"
    )
    done = bash(script)
    assert done.returncode in (0, job_frame.REFUSED), (work / "log").read_text()
    return job_frame.read_report((work / "report").read_bytes().decode(errors="replace"))


def packed(root: Path, target: Path, compression: str = "none") -> TreeDigest:
    return pack(root, scan(root), target, compression=compression)


# The digest


def test_both_sides_compute_the_same_digest(tree: Path, tmp_path: Path) -> None:
    ours, theirs = digest_of(tree), measured_by_shell(tree, tmp_path / "work")

    assert (theirs["layout"], theirs["tree"]) == (ours.layout, ours.sha256)
    assert (int(theirs["files"]), int(theirs["bytes"])) == (ours.files, ours.bytes)
    files = [status for status in seen(tree).values() if len(status) == 4 and status[2] is not None]
    assert ours.files == len(files)


def test_both_sides_agree_on_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    ours, theirs = digest_of(tmp_path / "nothing"), measured_by_shell(tmp_path / "nothing", tmp_path / "work")

    assert (theirs["layout"], theirs["tree"]) == (ours.layout, ours.sha256)
    assert (theirs["files"], theirs["bytes"]) == ("0", "0")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda root: (root / "sub/run.sh").write_text("#!/bin/SH\n"),
    "a size": lambda root: (root / "sub/run.sh").write_text("#!/bin/sh\n\n"),
    "a name": lambda root: (root / "sub/run.sh").rename(root / "sub/Run.sh"),
    "a file less": lambda root: (root / "zero").unlink(),
    "an empty directory more": lambda root: (root / "empty/new").mkdir(),
    "an empty directory less": lambda root: (root / "empty/deep").rmdir(),
    "a link's target": lambda root: ((root / "broken").unlink(), (root / "broken").symlink_to("nothing")),
    "a link for a file": lambda root: ((root / "zero").unlink(), (root / "zero").symlink_to("to-file")),
    "two contents swapped": lambda root: (
        (root / "sub/run.sh").write_text("#!/bin/zz\n"),
        (root / "zero").chmod(0o600),
        (root / "zero").write_text(""),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_differs_when_anything_does(tree: Path, change: str) -> None:
    before = digest_of(tree)
    CHANGES[change](tree)

    assert digest_of(tree) != before


def test_without_contents_only_contents_may_differ(tree: Path) -> None:
    before = digest_of(tree, contents=False)
    CHANGES["a byte"](tree)
    assert digest_of(tree, contents=False) == before
    assert before.sha256 is None
    CHANGES["a size"](tree)
    assert digest_of(tree, contents=False) != before


# What may not travel


def hard_link(root: Path) -> None:
    os.link(root / "sub/run.sh", root / "second name")


def pipe(root: Path) -> None:
    os.mkfifo(root / "sub/a pipe")


def listening(root: Path) -> None:
    here = Path.cwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("a socket")
    finally:
        os.chdir(here)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a hard link": (hard_link, "second name"),
    "a pipe": (pipe, "a pipe"),
    "a socket": (listening, "a socket"),
    "an absolute link": (lambda root: (root / "abs").symlink_to("/etc/passwd"), "abs"),
    "a link that leads out": (lambda root: (root / "sub" / "out").symlink_to("../../x"), "out"),
    "a link into the tree by its own name": (lambda root: (root / "own").symlink_to("../tree/zero"), "own"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_travel_is_refused_by_its_name_on_both_sides(
    tree: Path, tmp_path: Path, what: str
) -> None:
    make, name = REFUSED[what]
    make(tree)

    with pytest.raises(InvalidRequestError, match=name):
        scan(tree)
    report = measured_by_shell(tree, tmp_path / "work", archive="tree.tar")
    assert name in report["refused"].replace("\\", "")
    assert "end" not in report
    assert not (tmp_path / "work" / "tree.tar").exists()


def test_a_file_whose_other_name_is_elsewhere_travels_as_a_file(tree: Path, tmp_path: Path) -> None:
    os.link(tree / "sub/run.sh", tmp_path / "elsewhere")
    packed(tree, tmp_path / "a.tar")
    (tmp_path / "back").mkdir()
    unpack(tmp_path / "a.tar", tmp_path / "back")

    assert digest_of(tmp_path / "back") == digest_of(tree)
    assert "end" in measured_by_shell(tree, tmp_path / "work")


@pytest.mark.parametrize(
    ("name", "target", "inside"),
    [
        ("l", "a", True),
        ("l", ".", True),
        ("l", "", True),
        ("l", "a/../b", True),
        ("l", "..", False),
        ("l", "../tree/a", False),
        ("l", "a/../../b", False),
        ("d/l", "..", True),
        ("d/l", "../..", False),
        ("d/l", "../../d/l2", False),
        ("d/e/l", ".././../x//y", True),
        ("l", "/", False),
        ("l", "/tmp", False),
        ("l", "a//..//b/", True),
    ],
)
def test_both_sides_agree_on_which_links_stay_inside(name: str, target: str, inside: bool) -> None:
    functions = tree_jobs._EXAMINE
    done = bash(f"set -euo pipefail\n{functions}\nstays_inside '{name}' '{target}' && echo in || echo out")

    assert stays_inside(name.encode(), target.encode()) is inside
    assert done.stdout.decode().strip() == ("in" if inside else "out"), done.stderr


def test_a_directory_that_cannot_be_read_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def closed(path: bytes) -> object:
        if path.endswith(b"empty"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InvalidRequestError, match="empty cannot be read: Permission denied"):
        scan(tree)


# The archive


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_an_archive_gives_back_the_tree_as_it_was(tree: Path, tmp_path: Path, compression: str) -> None:
    digest = packed(tree, tmp_path / "a", compression)
    back = tmp_path / "back"
    back.mkdir()
    unpack(tmp_path / "a", back, compression=compression)

    assert seen(back) == seen(tree)
    assert digest == digest_of(tree) == digest_of(back)


def test_gnu_tar_reads_what_we_pack(tree: Path, tmp_path: Path) -> None:
    packed(tree, tmp_path / "a.tar")
    (tmp_path / "back").mkdir()
    subprocess.run(
        ["tar", "-xpf", tmp_path / "a.tar", "--no-same-owner", "-C", tmp_path / "back"],
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )

    assert seen(tmp_path / "back") == seen(tree)


def test_we_read_what_the_job_packs(tree: Path, tmp_path: Path) -> None:
    measured_by_shell(tree, tmp_path / "work", archive="tree.tar")
    (tmp_path / "back").mkdir()
    unpack(tmp_path / "work" / "tree.tar", tmp_path / "back")

    assert seen(tmp_path / "back") == seen(tree)


def test_set_user_id_bits_do_not_travel(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "tool").write_text("x")
    (tmp_path / "tree" / "tool").chmod(0o4755)
    packed(tmp_path / "tree", tmp_path / "a.tar")

    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getmember("tool").mode == 0o755


def test_a_file_that_changes_while_it_is_packed_is_noticed(tree: Path, tmp_path: Path) -> None:
    entries = scan(tree)
    (tree / "sub" / "run.sh").write_text("#!/bin/sh\nlonger\n")

    with pytest.raises(IntegrityError, match=r"run\.sh changed while it was being packed"):
        pack(tree, entries, tmp_path / "a.tar")


def test_a_file_that_is_gone_when_it_is_packed_is_named(tree: Path, tmp_path: Path) -> None:
    entries = scan(tree)
    (tree / "sub" / "run.sh").unlink()

    with pytest.raises(InvalidRequestError, match=r"run\.sh cannot be read"):
        pack(tree, entries, tmp_path / "a.tar")


def test_a_full_disk_is_told_as_such(tree: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this machine has no /dev/full to write to")
    with pytest.raises(QuotaError, match="Not enough space for /dev/full"):
        packed(tree, Path("/dev/full"))


@pytest.mark.parametrize("part", ["pack", "unpack", "digest"])
def test_everything_done_here_can_be_stopped(tree: Path, tmp_path: Path, part: str) -> None:
    packed(tree, tmp_path / "a.tar")
    (tmp_path / "back").mkdir()
    stop = threading.Event()
    stop.set()

    parts: dict[str, Callable[[], object]] = {
        "pack": lambda: pack(tree, scan(tree), tmp_path / "b.tar", stop=stop),
        "unpack": lambda: unpack(tmp_path / "a.tar", tmp_path / "back", stop=stop),
        "digest": lambda: digest_of(tree, stop=stop),
    }
    with pytest.raises(TransferCancelledError):
        parts[part]()


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree" / "large").open("wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    try:
        packed(tmp_path / "tree", tmp_path / "a.tar")
        (tmp_path / "back").mkdir()
        unpack(tmp_path / "a.tar", tmp_path / "back")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 << 20


# Archives that somebody has tampered with


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    found.size = 3 if kind == tarfile.REGTYPE else 0
    return found


HOSTILE: dict[str, list[tarfile.TarInfo]] = {
    "a path that leads out": [member("../pwned")],
    "a path that leads out later": [member("a/../../pwned")],
    "an absolute path": [member("/tmp/firecrest-pwned")],
    "a file through a link": [member("l", tarfile.SYMTYPE, "."), member("l/pwned")],
    "a file over a link": [member("l", tarfile.SYMTYPE, "there"), member("l")],
    "a link that leads out": [member("l", tarfile.SYMTYPE, "../..")],
    "an absolute link": [member("l", tarfile.SYMTYPE, "/etc")],
    "a way out over two links": [
        member("d", tarfile.DIRTYPE),
        member("d/e", tarfile.SYMTYPE, "../f/.."),
        member("f", tarfile.SYMTYPE, "."),
        member("d/e/pwned"),
    ],
    "a hard link": [member("l", tarfile.LNKTYPE, "../../etc/passwd")],
    "a device": [member("dev", tarfile.CHRTYPE)],
    "a pipe": [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_writes_nothing_outside(tmp_path: Path, what: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for each in HOSTILE[what]:
            tar.addfile(each, io.BytesIO(b"bad"))
    into = tmp_path / "in" / "to"
    into.mkdir(parents=True)

    with pytest.raises(IntegrityError, match="The archive holds"):
        unpack(tmp_path / "a.tar", into)

    assert [path.name for path in tmp_path.rglob("*pwned*")] == []
    assert not Path("/tmp/firecrest-pwned").exists()
    assert [each for each in into.rglob("*") if each.is_file() and not each.is_symlink()] == []


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.4, 0.7])
def test_a_truncated_archive_is_not_taken_for_the_tree(
    tree: Path, tmp_path: Path, compression: str, kept: float
) -> None:
    whole = packed(tree, tmp_path / "a", compression)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: int(len(content) * kept)])
    (tmp_path / "back").mkdir()

    try:
        unpack(tmp_path / "a", tmp_path / "back", compression=compression)
    except IntegrityError:
        return
    assert digest_of(tmp_path / "back") != whole


def test_a_damaged_archive_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no archive at all, but long enough to hold a header" * 40)
    (tmp_path / "back").mkdir()

    for compression in ("none", "gzip"):
        with pytest.raises(IntegrityError, match="The archive is damaged"):
            unpack(tmp_path / "a", tmp_path / "back", compression=compression)


def test_a_tree_with_read_only_directories_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "t" / "closed" / "deep").mkdir(parents=True)
    (tmp_path / "t" / "closed" / "deep" / "f").write_text("x")
    (tmp_path / "t" / "closed" / "deep").chmod(0o555)
    (tmp_path / "t" / "closed").chmod(0o500)

    archive.remove(tmp_path / "t")

    assert not (tmp_path / "t").exists()


# The job that unpacks


class Unpacking:
    """A job's directory with an archive in it, and the script run as the job would run it."""

    def __init__(self, tree: Path, base: Path) -> None:
        self.work, self.target = base / "work", base / "target"
        self.work.mkdir()
        self.expected = packed(tree, self.work / "tree.tar")

    def script(self, *, replace: bool = False, expected: TreeDigest | None = None) -> str:
        return tree_jobs.unpack_script(
            str(self.target),
            str(self.work),
            archive="tree.tar",
            expected=expected or self.expected,
            contents=True,
            compression="none",
            replace=replace,
            time_limit="1",
        )

    def report(self) -> dict[str, str]:
        path = self.work / "report"
        return job_frame.read_report(path.read_text(errors="replace")) if path.exists() else {}

    def nothing_half_done(self) -> bool:
        return not (self.work / "tree").exists() and not self.target.exists()


@pytest.fixture
def unpacking(tree: Path, tmp_path: Path) -> Unpacking:
    return Unpacking(tree, tmp_path)


def test_the_job_puts_the_tree_into_place(tree: Path, unpacking: Unpacking) -> None:
    done = bash(unpacking.script())

    assert done.returncode == 0, (unpacking.work / "log").read_text()
    assert seen(unpacking.target) == seen(tree)
    assert unpacking.report()["tree"] == digest_of(tree).sha256
    assert unpacking.report()["end"] == "yes"
    assert not (unpacking.work / "tree").exists()
    assert not (unpacking.work / "tree.tar").exists()


def test_the_job_refuses_another_tree_than_the_one_sent(tree: Path, unpacking: Unpacking) -> None:
    CHANGES["a byte"](tree)
    done = bash(unpacking.script(expected=digest_of(tree)))

    assert done.returncode == job_frame.REFUSED
    assert "other contents" in unpacking.report()["refused"]
    assert unpacking.nothing_half_done()


def test_the_job_leaves_nothing_of_a_truncated_archive(unpacking: Unpacking) -> None:
    archive = unpacking.work / "tree.tar"
    archive.write_bytes(archive.read_bytes()[:6000])
    done = bash(unpacking.script())

    assert done.returncode != 0
    assert "end" not in unpacking.report()
    assert unpacking.nothing_half_done()
    assert "tar" in (unpacking.work / "log").read_text()


def test_the_job_replaces_a_whole_directory_when_it_is_told_to(tree: Path, unpacking: Unpacking) -> None:
    (unpacking.target / "old" / "closed").mkdir(parents=True)
    (unpacking.target / "old" / "closed").chmod(0o500)
    unpacking.target.chmod(0o500)

    refused = bash(unpacking.script())
    assert refused.returncode == job_frame.REFUSED
    assert "has come into being" in unpacking.report()["refused"]
    assert (unpacking.target / "old").exists()

    again = Unpacking(tree, unpacking.work)
    again.target = unpacking.target
    assert bash(again.script(replace=True)).returncode == 0, (again.work / "log").read_text()
    assert seen(unpacking.target) == seen(tree)
    assert not (again.work / "old").exists()


def test_a_read_only_top_directory_arrives_read_only(tree: Path, unpacking: Unpacking) -> None:
    tree.chmod(0o555)
    packed(tree, unpacking.work / "tree.tar")

    assert bash(unpacking.script()).returncode == 0, (unpacking.work / "log").read_text()
    assert unpacking.target.stat().st_mode & 0o777 == 0o555


def test_of_two_copies_of_a_job_only_one_works(unpacking: Unpacking) -> None:
    assert bash(unpacking.script()).returncode == 0
    assert bash(unpacking.script()).returncode == job_frame.TAKEN
    assert unpacking.target.is_dir()


def test_the_claim_says_which_job_works_and_the_other_leaves_its_log_alone(unpacking: Unpacking) -> None:
    assert bash(f"export SLURM_JOB_ID=7\n{unpacking.script()}").returncode == 0
    log = (unpacking.work / "log").read_bytes()

    assert bash(f"export SLURM_JOB_ID=8\n{unpacking.script()}").returncode == job_frame.TAKEN

    assert (unpacking.work / job_frame.CLAIM).read_text() == "7\n"
    assert (unpacking.work / "log").read_bytes() == log


def test_a_job_that_is_told_to_end_leaves_nothing_half_done(unpacking: Unpacking) -> None:
    """Slurm sends TERM to everything in the job; here tar waits for its archive, a pipe, when it comes."""
    archive = unpacking.work / "tree.tar"
    archive.unlink()
    os.mkfifo(archive)
    job = subprocess.Popen(["bash", "-c", unpacking.script()], start_new_session=True)
    try:
        with archive.open("wb") as feeding:  # opens once tar has it open, too
            assert (unpacking.work / "tree").is_dir()
            os.killpg(job.pid, 15)
            assert job.wait(20) != 0
            feeding.close()
    finally:
        if job.poll() is None:
            job.kill()
            job.wait()
    assert unpacking.nothing_half_done()


@pytest.mark.parametrize("value", ["", "soon", "1:2:3:4", "1h", "-1"])
def test_a_time_limit_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(FirecrestError, match="time_limit"):
        job_frame.check_time_limit(value)


@pytest.mark.parametrize("value", ["30", "00:30:00", "1-12:00:00", "90:00"])
def test_a_time_limit_of_slurms_is_taken(value: str) -> None:
    assert job_frame.check_time_limit(value) == value
