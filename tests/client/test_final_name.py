"""FirecREST v1: an upload has its target's name when it is proven, and never before.

The witness is the file system: what stands at the target at every moment, and what is left beside it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    ConflictError,
    FirecrestError,
    InvalidRequestError,
    TransferFailedError,
)
from airflow_provider_firecrest.client.transfers import (
    StagedUpload,
    TransferResult,
    UploadPlan,
    finish_upload,
    part,
    plan_upload,
    stage_upload,
    upload_direct,
)
from tests.fixtures_local import FirecrestForTest

from .transferring import client_of, impatient, names_in, sha256, written

__all__ = ["impatient"]

SMALL, LARGE = 1000, 6 << 20
OLD = b"what was there before"
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["direct", "staged"])
RENAME = "/utilities/rename$"


@pytest.fixture
def v1(firecrest: FirecrestForTest) -> Iterator[FirecrestClient]:
    with client_of(firecrest, base_url=firecrest.base_url_v1, api_version="1") as made:
        yield made


def hasty_client(firecrest: FirecrestForTest) -> AbstractContextManager[FirecrestClient]:
    """One that soon gives up."""
    return client_of(firecrest, base_url=firecrest.base_url_v1, api_version="1", retry_budget=0.5)


def arrived(client: FirecrestClient, staged: StagedUpload) -> StagedUpload:
    """Wait for the server's task; the upload as another process would know it."""
    deadline = time.monotonic() + 30.0
    while not client.task(str(staged.task_id)).is_final:
        assert time.monotonic() < deadline, "the task did not end"
        time.sleep(0.05)
    return StagedUpload.from_dict(staged.as_dict())


def upload(client: FirecrestClient, source: Path, target: object, **options: Any) -> TransferResult:
    plan = plan_upload(client, source, str(target), **options)
    if plan.way == "direct":
        return upload_direct(client, plan)
    return finish_upload(client, arrived(client, stage_upload(client, plan)))


@contextmanager
def watched(path: Path) -> Iterator[set[bytes]]:
    """Everything that can be read under a name meanwhile."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())
            over.wait(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


@SIZES
def test_under_the_name_there_is_the_old_content_until_there_is_the_new_one(
    size: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source, target = written(tmp_path / "f", size), firecrest.directory / "f"
    target.write_bytes(OLD)

    with watched(target) as seen:
        done = upload(v1, source, target, if_exists="overwrite")

    assert {OLD} <= seen <= {OLD, source.read_bytes()}
    assert sha256(target) == sha256(source) == done.sha256
    assert names_in(firecrest.directory) == ["f"]


@SIZES
def test_an_upload_that_arrives_damaged_never_has_the_name(
    size: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source, target = written(tmp_path / "f", size), firecrest.directory / "f"
    target.write_bytes(OLD)
    plan = plan_upload(v1, source, str(target), if_exists="overwrite")

    def spoil() -> None:
        [path] = firecrest.directory.glob(".f.af*.part")
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])

    staged = arrived(v1, stage_upload(v1, plan)) if plan.way == "staged" else None
    checksum = v1.checksum
    v1.checksum = lambda *a, **k: (spoil(), checksum(*a, **k))[1]  # type: ignore[method-assign]

    with watched(target) as seen, pytest.raises(TransferFailedError, match="left as it was"):
        upload_direct(v1, plan) if staged is None else finish_upload(v1, staged)

    assert seen == {OLD}
    assert names_in(firecrest.directory) == ["f"]


@SIZES
def test_a_body_that_changes_on_the_way_never_has_the_name(
    size: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    target.write_bytes(OLD)
    firecrest.fault("bit_flip_upload", method="POST", path_regex="utilities/upload$|^/s3/", times=0)

    with hasty_client(firecrest) as hasty, pytest.raises(FirecrestError):
        upload(hasty, written(tmp_path / "f", size), target, if_exists="overwrite")

    assert target.read_bytes() == OLD
    assert names_in(firecrest.directory) == ["f"]


def test_a_success_without_a_file_leaves_the_old_one(
    v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    target.write_bytes(OLD)
    firecrest.fault("ingress_says_success_without_file", times=0)

    with pytest.raises(TransferFailedError, match=f"{target} is not on"):
        upload(v1, written(tmp_path / "f", LARGE), target, if_exists="overwrite")

    assert target.read_bytes() == OLD
    assert names_in(firecrest.directory) == ["f"]


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "lose_answer", "times": 1},
        {"action": "status_after_acting", "status": 502, "times": 1},
        {"action": "drop", "times": 1},
        {"action": "drop", "times": 2},
    ],
    ids=["answer lost", "502 after acting", "never arrived", "twice never arrived"],
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "overwrites"])
def test_whether_it_was_renamed_is_seen_when_no_answer_says_so(
    there: bool, fault: dict[str, Any], v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source, target = written(tmp_path / "f", SMALL), firecrest.directory / "f"
    if there:
        target.write_bytes(OLD)
    firecrest.fault(method="PUT", path_regex=RENAME, **fault)

    upload(v1, source, target, if_exists="overwrite" if there else "fail")

    assert sha256(target) == sha256(source)
    assert names_in(firecrest.directory) == ["f"]
    renames = [each for each in firecrest.requests() if each["path"].endswith("/rename")]
    # What never arrived is sent again, what was done is not.
    assert len(renames) == (fault["times"] + 1 if fault["action"] == "drop" else 1)


def test_a_rename_that_is_never_answered_leaves_the_old_file(
    v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    target.write_bytes(OLD)
    firecrest.fault("drop", method="PUT", path_regex=RENAME, times=0)

    with pytest.raises(AmbiguousError):
        upload(v1, written(tmp_path / "f", SMALL), target, if_exists="overwrite")

    assert target.read_bytes() == OLD
    assert names_in(firecrest.directory) == ["f"]


@SIZES
@pytest.mark.parametrize(
    ("policy", "appears"),
    [
        ("fail", lambda path: path.write_bytes(OLD)),
        ("skip", lambda path: path.write_bytes(OLD)),
        ("fail", lambda path: path.mkdir()),
        ("overwrite", lambda path: path.mkdir()),
        ("overwrite", lambda path: path.symlink_to("elsewhere")),
    ],
    ids=["fail", "skip", "fail, directory", "overwrite, directory", "overwrite, link"],
)
def test_what_appears_at_the_target_meanwhile_is_left_alone(
    policy: str,
    appears: Callable[[Path], None],
    size: int,
    v1: FirecrestClient,
    firecrest: FirecrestForTest,
    tmp_path: Path,
) -> None:
    source, target = written(tmp_path / "f", size), firecrest.directory / "f"
    plan = plan_upload(v1, source, str(target), if_exists=policy)  # type: ignore[arg-type]
    staged = stage_upload(v1, plan) if plan.way == "staged" else None
    appears(target)
    before = target.lstat()

    with pytest.raises(ConflictError, match=r"^target_path: "):
        upload_direct(v1, plan) if staged is None else finish_upload(v1, arrived(v1, staged))

    assert (target.lstat().st_ino, target.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert names_in(firecrest.directory) == ["f"]


def test_a_directory_that_appears_at_the_very_last_moment_is_not_littered(
    v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """The server's `mv` moves the file into it, and says that all is well."""
    target = firecrest.directory / "f"
    plan = plan_upload(v1, written(tmp_path / "f", SMALL), str(target))
    rename = v1.rename
    v1.rename = lambda *a, **k: (target.mkdir(), rename(*a, **k))[1]  # type: ignore[method-assign]

    with pytest.raises(TransferFailedError, match="somebody else wrote there"):
        upload_direct(v1, plan)

    assert (names_in(firecrest.directory), names_in(target)) == (["f"], [])


@SIZES
def test_a_link_stays_one_and_the_file_behind_it_is_replaced(
    size: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source, behind = written(tmp_path / "f", size), firecrest.directory / "deep" / "file"
    behind.parent.mkdir()
    behind.write_bytes(OLD)
    (firecrest.directory / "first").symlink_to("deep/../second")
    (firecrest.directory / "second").symlink_to(behind)

    upload(v1, source, firecrest.directory / "first", if_exists="overwrite")

    assert sha256(behind) == sha256(source)
    assert not behind.is_symlink()
    assert (firecrest.directory / "first").readlink() == Path("deep/../second")
    assert names_in(behind.parent) == ["file"]
    assert names_in(firecrest.directory) == ["deep", "first", "second"]


def test_a_link_to_nothing_leads_to_the_file_that_is_made(
    v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    (firecrest.directory / "link").symlink_to("file")

    upload(v1, written(tmp_path / "f", SMALL), firecrest.directory / "link")

    assert sha256(firecrest.directory / "file") == sha256(tmp_path / "f")
    assert (firecrest.directory / "link").is_symlink()


def test_a_link_whose_target_the_api_cannot_carry_is_refused(
    v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    (firecrest.directory / "a&b").write_bytes(OLD)
    (firecrest.directory / "link").symlink_to("a&b")

    with pytest.raises(InvalidRequestError, match=r"^target_path: .*a&b"):
        upload(v1, written(tmp_path / "f", SMALL), firecrest.directory / "link", if_exists="overwrite")

    assert (firecrest.directory / "a&b").read_bytes() == OLD


def test_a_pipe_is_not_replaced(v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path) -> None:
    os.mkfifo(firecrest.directory / "pipe")

    with pytest.raises(InvalidRequestError, match="not a regular file"):
        upload(v1, written(tmp_path / "f", SMALL), firecrest.directory / "pipe", if_exists="overwrite")

    assert (firecrest.directory / "pipe").is_fifo()


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o755])
def test_the_file_that_is_replaced_passes_its_permissions_on(
    mode: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    target.write_bytes(OLD)
    target.chmod(mode)

    upload(v1, written(tmp_path / "f", SMALL), target, if_exists="overwrite")

    assert target.stat().st_mode & 0o777 == mode


def test_the_file_that_is_replaced_passes_its_group_on(
    v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    target.write_bytes(OLD)
    v1.chown(str(target), group="project")
    before = target.stat().st_ino

    upload(v1, written(tmp_path / "f", SMALL), target, if_exists="overwrite")

    assert target.stat().st_ino != before
    [entry] = v1.ls(str(target))
    assert entry.group == "project"


@pytest.mark.parametrize(("mode", "kept"), [(0o640, 0o600), (0o664, 0o644), (0o755, 0o755), (0o600, 0o600)])
def test_a_group_that_cannot_be_passed_on_costs_a_warning_and_the_groups_rights(
    mode: int,
    kept: int,
    v1: FirecrestClient,
    firecrest: FirecrestForTest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, target = written(tmp_path / "f", SMALL), firecrest.directory / "f"
    target.write_bytes(OLD)
    target.chmod(mode)
    v1.chown(str(target), group="project")
    refusal = {"X-Permission-Denied": "User does not have permissions to access path"}
    firecrest.fault("status", path_regex="/chown$", status=400, headers=refusal, body={})

    upload(v1, source, target, if_exists="overwrite")

    assert sha256(target) == sha256(source)
    assert target.stat().st_mode & 0o777 == kept
    assert "does not keep its group" in caplog.text


@SIZES
@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127, "two words.txt", "-rf", "50%,$x"])
def test_any_name_that_fits_gets_a_part_that_fits(
    name: str, size: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", size)

    upload(v1, source, firecrest.directory / name)

    assert sha256(firecrest.directory / name) == sha256(source)
    assert names_in(firecrest.directory) == [name]


@SIZES
def test_a_stopped_upload_leaves_nothing(
    size: int, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    target.write_bytes(OLD)
    plan = plan_upload(v1, written(tmp_path / "f", size), str(target), if_exists="overwrite")
    staged = arrived(v1, stage_upload(v1, plan)) if plan.way == "staged" else None
    stop = threading.Event()
    stop.set()

    with pytest.raises(TransferFailedError, match="stopped"):
        upload_direct(v1, plan, stop=stop) if staged is None else finish_upload(v1, staged, stop=stop)

    assert target.read_bytes() == OLD
    assert names_in(firecrest.directory) == ["f"]


class TestAnUploadThatIsFinishedTwice:
    """The first process died between the renaming and its end."""

    @pytest.fixture
    def staged(self, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path) -> StagedUpload:
        target = firecrest.directory / "f"
        plan = plan_upload(v1, written(tmp_path / "f", LARGE), str(target), verify_checksum=False)
        made = arrived(v1, stage_upload(v1, plan))
        finish_upload(v1, made)
        return made

    def test_is_done(self, v1: FirecrestClient, firecrest: FirecrestForTest, staged: StagedUpload) -> None:
        assert finish_upload(v1, staged).sha256 == sha256(firecrest.directory / "f")

    def test_is_not_done_when_the_target_has_other_bytes_of_the_same_size(
        self, v1: FirecrestClient, firecrest: FirecrestForTest, staged: StagedUpload
    ) -> None:
        written(firecrest.directory / "f", LARGE, seed=2)

        with pytest.raises(TransferFailedError, match="is not on"):
            finish_upload(v1, staged)


@pytest.mark.parametrize("passes", [True, False], ids=["may pass", "is final"])
def test_a_part_is_kept_for_the_next_attempt_only_when_that_may_find_it_good(
    passes: bool, v1: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    plan = plan_upload(v1, written(tmp_path / "f", LARGE), str(target))
    staged = arrived(v1, stage_upload(v1, plan))
    refusal = {"headers": {"X-Permission-Denied": "no"}, "status": 400}
    firecrest.fault(
        "status", path_regex="/checksum$", times=0, **({"status": 503} if passes else refusal), body={}
    )

    with (
        hasty_client(firecrest) as hasty,
        pytest.raises(FirecrestError),
    ):
        finish_upload(hasty, staged, keep=True)

    assert names_in(firecrest.directory) == ([Path(str(staged.part)).name] if passes else [])


def test_parts_are_swept_by_their_mark(v1: FirecrestClient, firecrest: FirecrestForTest) -> None:
    target = str(firecrest.directory / "f\u00e4")
    ours = [part.part_of(target, "0" * 14) for _ in range(3)]
    others = [part.part_of(target, "1" * 14), str(firecrest.directory / f".f.af{'0' * 14}.part"), target]
    for path in ours + others:
        Path(path).touch()

    found = part.sweep(v1, target, "0" * 14, firecrest.system, keep=ours[0])

    assert sorted(found) == sorted(ours)
    assert names_in(firecrest.directory) == sorted(Path(path).name for path in [ours[0], *others])


@pytest.mark.parametrize("in_place", [True, False])
def test_v2_writes_in_place(
    in_place: bool, firecrest: FirecrestForTest, tmp_path: Path, v1: FirecrestClient
) -> None:
    with client_of(firecrest) as v2:
        plans: list[UploadPlan] = [
            plan_upload(client, written(tmp_path / "f", 1), f"{firecrest.directory}/f", in_place=in_place)
            for client in (v1, v2)
        ]
    assert [plan.part is None for plan in plans] == [in_place, True]
