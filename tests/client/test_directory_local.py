"""The temporary directory of a directory's transfer on this machine, and what makes two archives the same."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import TransferFailedError, UnavailableError
from airflow_provider_firecrest.client.transfers.directories.archive import pack
from airflow_provider_firecrest.client.transfers.directories.local import (
    STALE_AFTER,
    discard,
    own_directory,
    put_back,
)
from airflow_provider_firecrest.client.transfers.directories.tree import scan, stamp
from tests.trees import written_tree

STEM = ".case."


def killed(parent: Path, place: str, *files: str) -> Path:
    """A directory as a killed process leaves it."""
    with own_directory(parent, STEM, place) as here:
        path = here.path
    path.mkdir(0o700)
    for name in files:
        (path / name).write_text(name)
    return path


def aged(path: Path) -> Path:
    long_ago = time.time() - STALE_AFTER - 60
    for each in (*path.iterdir(), path):
        os.utime(each, (long_ago, long_ago))
    return path


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """As if another process worked in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def left(parent: Path) -> list[str]:
    return sorted(each.name for each in parent.iterdir())


def test_what_a_killed_process_left_is_found_by_the_same_text_only(tmp_path: Path) -> None:
    path = killed(tmp_path, "mine", "archive")

    with own_directory(tmp_path, STEM, "other") as other:
        assert other.path != path
        assert left(other.path) == []
    with own_directory(tmp_path, STEM, "mine") as here:
        assert here.path == path
        assert left(here.path) == ["archive"]
        here.forget_all_but(("something else",))
        assert left(here.path) == []
    assert left(tmp_path) == []


def test_without_a_text_it_is_always_a_new_one(tmp_path: Path) -> None:
    with own_directory(tmp_path, STEM, None) as one, own_directory(tmp_path, STEM, None) as other:
        assert one.path != other.path
        assert [path.stat().st_mode & 0o777 for path in (one.path, other.path)] == [0o700, 0o700]
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "keep", "stays"),
    [
        (UnavailableError("away"), True, True),
        (UnavailableError("away"), False, False),
        (TransferFailedError("for good"), True, False),
        (KeyboardInterrupt(), True, False),
    ],
    ids=["may pass", "nobody follows", "for good", "stopped"],
)
def test_it_stays_only_for_a_process_that_can_go_on(
    tmp_path: Path, error: BaseException, keep: bool, stays: bool
) -> None:
    def fail() -> None:
        with own_directory(tmp_path, STEM, "mine", keep=keep) as here:
            (here.path / "archive").write_text("part of it")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert bool(left(tmp_path)) is stays


def test_one_that_another_process_works_in_is_left_to_it(tmp_path: Path) -> None:
    path = killed(tmp_path, "mine", "archive")
    with in_use(path):
        with own_directory(tmp_path, STEM, "mine") as here:
            assert here.path != path
        discard(tmp_path, STEM, "mine")
        assert left(path) == ["archive"]
    discard(tmp_path, STEM, "mine")
    assert left(tmp_path) == []


@pytest.mark.parametrize("what", ["a link", "open to others"])
def test_one_that_somebody_else_may_have_prepared_is_not_used(tmp_path: Path, what: str) -> None:
    """Anybody may write into /tmp, and can compute the name."""
    path = killed(tmp_path, "mine")
    if what == "a link":
        path.rmdir()
        (tmp_path / "trap").mkdir()
        path.symlink_to(tmp_path / "trap")
    else:
        path.chmod(0o777)

    with own_directory(tmp_path, STEM, "mine") as here:
        assert here.path != path
        (here.path / "archive").write_text("secret")
        assert not list(tmp_path.glob("trap/*"))
        assert not path.is_symlink() or path.readlink() == tmp_path / "trap"
    assert os.path.lexists(path)


def test_what_nobody_came_back_for_in_a_week_is_removed(tmp_path: Path) -> None:
    stale = aged(killed(tmp_path, "stale", "archive"))
    young = killed(tmp_path, "young", "archive")
    growing = aged(killed(tmp_path, "growing", "archive"))
    (growing / "archive").write_text("more")
    busy = aged(killed(tmp_path, "busy", "archive"))
    other = tmp_path / ".case.notes"
    other.mkdir()
    aged(other)

    with in_use(busy), own_directory(tmp_path, STEM, "mine"):
        pass

    assert not stale.exists()
    assert left(tmp_path) == sorted(each.name for each in (young, growing, busy, other))


def test_the_only_copy_of_something_is_not_removed_however_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = killed(tmp_path, "stale")
    (path / "old").mkdir()
    aged(path)
    with caplog.at_level(logging.WARNING), own_directory(tmp_path, STEM, "mine"):
        pass
    assert (path / "old").is_dir()
    assert "may hold the only copy" in caplog.text


def test_what_was_taken_aside_goes_back_where_nothing_came_in_its_place(tmp_path: Path) -> None:
    target = tmp_path / "case"
    path = killed(tmp_path, "mine")
    (path / "old").mkdir()
    (path / "old" / "precious").write_text("old")
    (path / "old").chmod(0o555)  # others than root may not move such a one just so
    target.mkdir()
    put_back(target, STEM, "mine")
    assert left(target) == []

    target.rmdir()
    put_back(target, STEM, "other")
    assert not target.exists()
    put_back(target, STEM, "mine")
    assert left(target) == ["precious"]
    assert target.stat().st_mode & 0o777 == 0o555


# The same tree, packed again


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_tree_packed_again_later_and_elsewhere_makes_the_same_bytes(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = written_tree(tmp_path / "tree")
    pack(tree, scan(tree), tmp_path / "one", compression=compression)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    pack(tree, reversed(scan(tree)), tmp_path / "another", compression=compression)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "another").read_bytes()


def rewritten(root: Path) -> None:
    """Other bytes, as many."""
    path = root / "sub" / "run.sh"
    path.write_text(path.read_text().swapcase())
    os.utime(path, (1_000_000_000, 1_000_000_000))


CHANGES: dict[str, Callable[[Path], object]] = {
    "another content": rewritten,
    "another mode": lambda root: (root / "zero").chmod(0o600),
    "another name": lambda root: (root / "zero").rename(root / "nil"),
    "a file less": lambda root: (root / "zero").unlink(),
    "another link": lambda root: ((root / "broken").unlink(), (root / "broken").symlink_to("other")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_source_shows_in_its_stamp(tmp_path: Path, change: str) -> None:
    tree = written_tree(tmp_path / "tree")
    before = stamp(scan(tree))
    assert stamp(reversed(scan(tree))) == before

    CHANGES[change](tree)

    assert stamp(scan(tree)) != before
