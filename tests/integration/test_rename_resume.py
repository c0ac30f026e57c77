"""The small operator's ``rename`` on FirecREST v2, where it is a job: whatever happens, it is done once.

The witnesses are the scheduler's own list and the disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_firecrest.client.fileops import once
from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from tests.faults.miniature import Lane, Task
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance

TUNING = {
    "client.fileops.once.ADOPT_WITHIN": 1.5,
    "client.fileops.looks.PATIENCE": 0.5,
    "client.waiting.cancel._PAUSE": 0.2,
}


class Rename:
    """One task that renames a file, and what the system's side shows of it."""

    def __init__(self, firecrest: FirecrestForTest, tmp_path: Path, **more: Any) -> None:
        self.firecrest = firecrest
        self.source, self.target = firecrest.directory / "old", firecrest.directory / "new"
        self.source.write_text("content")
        arguments = {"path": str(self.source), "arguments": {"target_path": str(self.target)}}
        self.task = Task(
            "filesystem.FirecrestFilesystemOperator",
            {"operation": "rename", **arguments},
            tmp_path / firecrest.directory.name,
            firecrest.connection_env,
            **more,
        )

    def is_done_once(self) -> None:
        assert not self.source.exists()
        assert self.target.read_text() == "content"
        assert len(self.firecrest.new_jobs()) == 1


@pytest.mark.parametrize("at", ["after_post", "after_store"])
def test_a_retry_after_the_workers_death_finds_the_rename(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, at: str
) -> None:
    rename = Rename(firecrest, tmp_path)
    assert rename.task.die(lane, at)["state"] == "crashed"

    outcome = rename.task.live(lane)

    assert outcome["state"] == "success", outcome
    assert outcome["result"]["value"]["target"] == str(rename.target)
    rename.is_done_once()


def test_a_rename_that_is_lost_from_sight_is_not_tried_again(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "ADOPT_WITHIN", 0.5)
    source, target = firecrest.directory / "old", firecrest.directory / "new"
    source.write_text("content")
    # given a submit whose answer is lost, and a job that no list shows
    firecrest.fault("lose_answer", method="POST", path_regex="/transfer/mv$")
    firecrest.fault("hide_job", delay_s=600, times=1000)
    task = FirecrestFilesystemOperator(
        task_id="simulate", operation="rename", path=str(source), arguments={"target_path": str(target)}
    )

    # then Airflow does not retry, and the task says what to look for
    with pytest.raises(AirflowFailException, match="Look for a job named 'MoveFiles'"):
        task.execute({"ti": TaskInstance()})
    assert len(firecrest.new_jobs()) == 1
