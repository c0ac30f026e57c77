"""Whether a later process may go on with a staged transfer, and what it does when it may not.

The witnesses are the scheduler's own list, the requests the server saw, and the file on its disk.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import ClientCredentials, FirecrestClient, Settings, staging
from airflow_provider_firecrest.client.errors import FirecrestError, TransferFailedError, UnavailableError
from airflow_provider_firecrest.client.transfers import (
    StagedDownload,
    StagedUpload,
    UploadPlan,
    UploadState,
    continued_download,
    finish_download,
    finish_upload,
    plan_download,
    plan_upload,
    stage_download,
    stage_upload,
)
from tests.fixtures_local import FirecrestForTest

from .transferring import client, impatient, names_in, over, sha256, written

__all__ = ["client", "impatient"]

PART = 8 * 1024 * 1024
SIZE = 2 * PART + 17
PARTS = 3
OLD = "X-Amz-Date=20200101T000000Z&X-Amz-Expires=60"


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are sent one after the other, and a store that fails is not asked twice."""
    make = staging.StagingOptions
    monkeypatch.setattr(staging, "StagingOptions", lambda **given: make(parallel=1, attempts=1, **given))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return written(tmp_path / "here" / "data.bin", SIZE)


def plan_of(client: FirecrestClient, source: Path, firecrest: FirecrestForTest) -> UploadPlan:
    return plan_upload(client, source, str(firecrest.directory / "data.bin"), if_exists="overwrite")


def half_sent(client: FirecrestClient, plan: UploadPlan, firecrest: FirecrestForTest) -> UploadState:
    """An upload of which one part is sent, and whose job waits: what a killed worker leaves."""
    kept: list[UploadState] = []

    def stop_after_one(state: UploadState) -> None:
        kept.append(state)
        if state.parts:
            firecrest.fault("status", method="PUT", path_regex="^/s3/", times=1, status=503)

    with pytest.raises(UnavailableError):
        stage_upload(client, plan, save=stop_after_one, keep=True)
    return UploadState.from_dict(json.loads(json.dumps(kept[-1].as_dict())))


def finished(client: FirecrestClient, staged: StagedUpload) -> None:
    finish_upload(client, staged, over(client, staged))


def states(firecrest: FirecrestForTest) -> list[str]:
    jobs = sorted(firecrest.new_jobs(), key=lambda job: int(job["id"]))
    return [str(job["state"]).split()[0] for job in jobs]


def puts(firecrest: FirecrestForTest) -> int:
    return sum(
        each["method"] == "PUT" and each["status"] == 200 and each["path"].startswith("/s3/")
        for each in firecrest.requests()
    )


@pytest.mark.usefixtures("one_by_one")
class TestAnUpload:
    def test_whose_store_failed_for_a_while_is_gone_on_with(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        state = half_sent(client, plan, firecrest)
        assert states(firecrest) in (["RUNNING"], ["PENDING"])
        assert (len(state.parts), puts(firecrest)) == (1, 1)

        staged = stage_upload(client, plan, state=state)
        finished(client, staged)

        assert puts(firecrest) == PARTS
        assert states(firecrest) == ["COMPLETED"]
        assert sha256(firecrest.directory / "data.bin") == sha256(source)
        assert firecrest.new_uploads() == []

    def test_that_nobody_comes_back_for_leaves_no_job(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        firecrest.fault("status", method="PUT", path_regex="^/s3/", times=0, status=503)

        with pytest.raises(UnavailableError):
            stage_upload(client, plan_of(client, source, firecrest))

        assert states(firecrest) == ["CANCELLED"]

    def test_that_was_refused_leaves_no_job_even_when_somebody_comes_back(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        firecrest.fault("status", method="PUT", path_regex="^/s3/", times=0, status=403)

        with pytest.raises(FirecrestError):
            stage_upload(client, plan_of(client, source, firecrest), keep=True)

        assert states(firecrest) == ["CANCELLED"]

    @pytest.mark.parametrize(
        "age",
        [
            lambda state: replace(state, complete_url=f"http://127.0.0.1/x?{OLD}"),
            lambda state: replace(state, complete_url="", part_urls=()),
            lambda state: replace(state, size=state.size - 1),
            lambda state: replace(state, mtime_ns=state.mtime_ns - 1),
            lambda state: replace(state, target=state.target + "x"),
            lambda state: replace(state, source=state.source + "x"),
        ],
        ids=["URLs too old", "no URLs", "another size", "changed", "another target", "another source"],
    )
    def test_that_does_not_hold_any_more_starts_anew_and_cancels_its_job(
        self,
        client: FirecrestClient,
        firecrest: FirecrestForTest,
        source: Path,
        age: Callable[[UploadState], UploadState],
    ) -> None:
        plan = plan_of(client, source, firecrest)
        state = age(half_sent(client, plan, firecrest))

        staged = stage_upload(client, plan, state=state)
        finished(client, staged)

        assert states(firecrest) == ["CANCELLED", "COMPLETED"]
        assert puts(firecrest) == 1 + PARTS
        assert sha256(firecrest.directory / "data.bin") == sha256(source)

    def test_whose_job_has_ended_meanwhile_starts_anew(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        state = half_sent(client, plan, firecrest)
        client.cancel_job(str(state.job_id))
        client.wait_for_job(str(state.job_id), poll_interval=0.1, timeout=30.0)

        staged = stage_upload(client, plan, state=state)
        finished(client, staged)

        assert states(firecrest) == ["CANCELLED", "COMPLETED"]
        assert puts(firecrest) == 1 + PARTS

    def test_that_the_store_has_cleaned_up_starts_anew(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        state = half_sent(client, plan, firecrest)
        firecrest.fault(
            "status",
            method="PUT",
            path_regex="^/s3/",
            times=1,
            status=404,
            body="<Error><Code>NoSuchUpload</Code><Message>Gone.</Message></Error>",
        )

        staged = stage_upload(client, plan, state=state)
        finished(client, staged)

        assert states(firecrest) == ["CANCELLED", "COMPLETED"]
        assert sha256(firecrest.directory / "data.bin") == sha256(source)

    def test_whose_part_the_store_has_lost_starts_anew(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        state = half_sent(client, plan, firecrest)
        state = replace(state, parts={**state.parts, 2: '"opaque-and-unknown"'})

        staged = stage_upload(client, plan, state=state)
        finished(client, staged)

        assert states(firecrest) == ["CANCELLED", "COMPLETED"]
        assert sha256(firecrest.directory / "data.bin") == sha256(source)

    def test_that_is_all_sent_is_only_waited_for(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        kept: list[UploadState] = []
        first = stage_upload(client, plan, save=kept.append)
        over(client, first)

        again = stage_upload(client, plan, state=kept[-1])
        finished(client, again)

        assert (again.job_id, again.sha256) == (first.job_id, sha256(source))
        assert puts(firecrest) == PARTS
        assert kept[-1].phase == "sent"
        assert "http" not in json.dumps(kept[-1].as_dict())

    def test_whose_job_wrote_the_file_before_anybody_said_so_is_only_proven(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        kept: list[UploadState] = []
        first = stage_upload(client, plan, save=kept.append)
        over(client, first)
        completing = next(each for each in kept if each.phase == "completing")

        again = stage_upload(client, plan, state=completing)
        finished(client, again)

        assert again.sha256 == sha256(source)
        assert puts(firecrest) == PARTS

    def test_tells_its_job_before_it_sends(
        self, client: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(client, source, firecrest)
        state = half_sent(client, plan, firecrest)
        told: list[Any] = []

        stage_upload(client, plan, state=state, on_start=told.append)

        assert [each.job_id for each in told] == [state.job_id]


def test_a_state_shows_no_url(client: FirecrestClient, firecrest: FirecrestForTest, source: Path) -> None:
    kept: list[UploadState] = []
    stage_upload(client, plan_of(client, source, firecrest), save=kept.append)

    assert any(each.part_urls for each in kept)
    assert not any("http" in repr(each) for each in kept)


class TestADownload:
    @pytest.fixture
    def there(self, firecrest: FirecrestForTest) -> Path:
        return written(firecrest.directory / "data.bin", SIZE)

    def test_that_is_staged_is_not_staged_again(
        self, client: FirecrestClient, firecrest: FirecrestForTest, there: Path, tmp_path: Path
    ) -> None:
        plan = plan_download(client, str(there), tmp_path / "data.bin")
        first = stage_download(client, plan)
        over(client, first)

        again = continued_download(client, plan, StagedDownload.from_dict(first.as_dict()))
        assert again is not None
        finish_download(client, again)

        assert states(firecrest) == ["COMPLETED"]
        assert sha256(tmp_path / "data.bin") == sha256(there)

    @pytest.mark.parametrize(
        "changed",
        [
            {"url": f"http://127.0.0.1/x?{OLD}"},
            {"url": None},
            {"mtime": 1},
            {"size": 1},
            {"source": "/elsewhere"},
            {"job_id": "999999"},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_that_does_not_hold_any_more_is_not_gone_on_with(
        self,
        client: FirecrestClient,
        there: Path,
        tmp_path: Path,
        changed: dict[str, Any],
    ) -> None:
        plan = plan_download(client, str(there), tmp_path / "data.bin")
        staged = stage_download(client, plan)

        assert continued_download(client, plan, replace(staged, **changed)) is None

    def test_whose_object_is_gone_says_so_as_a_failure_that_a_retry_mends(
        self,
        client: FirecrestClient,
        firecrest: FirecrestForTest,
        there: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        make = staging.StagingOptions
        monkeypatch.setattr(staging, "StagingOptions", lambda **given: make(appear_timeout=0.2, **given))
        plan = plan_download(client, str(there), tmp_path / "data.bin")
        staged = stage_download(client, plan)
        over(client, staged)
        firecrest.lose_new_objects()

        with pytest.raises(TransferFailedError, match="cannot be had from the object store"):
            finish_download(client, staged, mark="task", keep=True)
        assert names_in(tmp_path) == []


class TestOnV1:
    @pytest.fixture
    def v1(self, firecrest: FirecrestForTest) -> Iterator[FirecrestClient]:
        login = ClientCredentials(firecrest.token_url, firecrest.client_id, firecrest.client_secret)
        settings = Settings(
            firecrest.base_url_v1,
            login,
            system=firecrest.system,
            api_version="1",
            max_requests_per_second=200,
        )
        with FirecrestClient(settings) as made:
            yield made

    def waiting(self, v1: FirecrestClient, plan: UploadPlan) -> UploadState:
        """An upload whose form nobody has sent."""
        return UploadState.of_plan(plan, "started").with_ticket(v1.transfer_upload(plan.target, plan.size))

    def begun(self, firecrest: FirecrestForTest) -> int:
        return sum(each["path"].endswith("/xfer-external/upload") for each in firecrest.requests())

    def test_a_form_that_waits_is_sent(
        self, v1: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(v1, source, firecrest)
        state = self.waiting(v1, plan)

        staged = stage_upload(v1, plan, state=UploadState.from_dict(json.loads(json.dumps(state.as_dict()))))

        assert (staged.task_id, staged.sha256) == (state.task_id, sha256(source))
        assert self.begun(firecrest) == 1

    @pytest.mark.parametrize(
        "policy",
        [{"expiration": "2020-01-01T00:00:00Z"}, None],
        ids=["too old", "lost"],
    )
    def test_a_form_that_cannot_be_used_any_more_is_asked_for_anew(
        self, v1: FirecrestClient, firecrest: FirecrestForTest, source: Path, policy: dict[str, str] | None
    ) -> None:
        plan = plan_of(v1, source, firecrest)
        state = self.waiting(v1, plan)
        old = {"policy": base64.b64encode(json.dumps(policy).encode()).decode()} if policy else {}

        staged = stage_upload(v1, plan, state=replace(state, form_fields=old))

        assert staged.task_id != state.task_id
        assert self.begun(firecrest) == 2

    def test_a_file_that_has_arrived_is_only_proven(
        self, v1: FirecrestClient, firecrest: FirecrestForTest, source: Path
    ) -> None:
        plan = plan_of(v1, source, firecrest)
        kept: list[UploadState] = []
        first = stage_upload(v1, plan, save=kept.append)
        until_final(v1, first)

        again = stage_upload(v1, plan, state=replace(kept[0], phase="started"))
        finish_upload(v1, again)

        assert again.task_id == first.task_id
        assert sha256(firecrest.directory / "data.bin") == sha256(source)


def until_final(client: FirecrestClient, staged: StagedUpload) -> None:
    deadline = time.monotonic() + 30.0
    while not client.task(str(staged.task_id)).is_final:
        assert time.monotonic() < deadline, "the task did not end"
        time.sleep(0.1)
