"""A submit whose answer was lost:

which job is taken for ours, and when none is. The client is a stand-in with a script.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_firecrest.client import Settings, StaticToken, errors
from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.operators import _submission
from airflow_provider_firecrest.operators._submission import JobRequest, submit

REQUEST = JobRequest(name="icon", working_dir="/w", script="#!/bin/bash\n./icon\n")


class Scheduler:
    """Jobs by id with their scripts; the answer to a submit gets lost."""

    settings = Settings("https://api.example.org/v2", StaticToken("t"))

    def __init__(self, before: dict[str, str], after: list[dict[str, str]]) -> None:
        self._lists = [before, *after]
        self.submits = 0
        self.list_fails = False

    def __call__(self, settings: Settings) -> Scheduler:
        return self

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def submit_job(self, *arguments: Any, **options: Any) -> str:
        self.submits += 1
        raise errors.AmbiguousError("No answer from FirecREST (the connection broke).")

    def jobs(self, **filters: Any) -> list[Job]:
        if self.list_fails:
            raise errors.UnavailableError("down", status=500)
        now = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        self._now = now
        return [Job(job_id, "icon", "PENDING") for job_id in now]

    def job_metadata(self, job_id: str, **options: Any) -> Any:
        return SimpleNamespace(script=self._now[job_id])


OURS, THEIRS = str(REQUEST.script), "#!/bin/bash\n./other\n"


def outcome(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, request: JobRequest = REQUEST) -> str:
    monkeypatch.setattr("airflow_provider_firecrest.client.FirecrestClient", scheduler, raising=False)
    slept: list[float] = []
    try:
        return submit(
            scheduler,  # type: ignore[arg-type]
            request,
            system=None,
            log=logging.getLogger("test"),
            sleep=slept.append,
        )
    finally:
        assert scheduler.submits == 1
        assert sum(slept) <= _submission.ADOPT_WITHIN + 10


def test_the_new_job_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(Scheduler({"1": OURS}, [{"1": OURS, "2": OURS}]), monkeypatch) == "2"


def test_a_job_that_shows_up_late_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(Scheduler({}, [{}, {}, {}, {"7": OURS}]), monkeypatch) == "7"


def test_another_tasks_new_job_of_the_same_name_is_told_apart_by_its_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert outcome(Scheduler({}, [{"7": THEIRS}, {"7": THEIRS, "8": OURS}]), monkeypatch) == "8"


def test_a_forgotten_script_is_no_reason_to_leave_a_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(Scheduler({}, [{"7": ""}]), monkeypatch) == "7"


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (Scheduler({"1": OURS}, [{"1": OURS}]), "no new job of this name showed up within 60 s"),
        (Scheduler({}, [{"7": THEIRS}]), "no new job of this name showed up within 60 s"),
        (Scheduler({}, [{"7": OURS, "8": OURS}]), "there are several new jobs of this name: 7, 8"),
    ],
)
def test_in_doubt_nothing_is_taken_and_nothing_submitted_again(
    monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler, words: str
) -> None:
    with pytest.raises(errors.AmbiguousError, match=words) as failure:
        outcome(scheduler, monkeypatch)
    assert "Look for a job named 'icon' on the system" in str(failure.value)


def test_without_a_list_from_before_an_old_job_cannot_be_told_from_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = Scheduler({}, [{"7": OURS}])
    scheduler.list_fails = True
    with pytest.raises(errors.AmbiguousError, match="could not be listed before it"):
        outcome(scheduler, monkeypatch)
