"""The shared poller:

who is asked for, how often, and what happens to the waiting when it fails. No server, real time.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_firecrest.client.errors import UnavailableError
from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.triggers.poller import Answer, JobPoller, subscribe

task_of_log = contextvars.ContextVar("task_of_log", default="nobody")


class Server:
    """Answers every question with running jobs; notes when it was asked for what, and in whose context."""

    def __init__(self) -> None:
        self.questions: list[list[str]] = []
        self.contexts: set[str] = set()
        self.failure: Exception | None = None

    async def get(self) -> Server:
        return self

    def distrust(self) -> None:
        return None

    async def find_jobs(self, job_ids: list[str], *, system: str | None) -> dict[str, Job]:
        self.questions.append(job_ids)
        self.contexts.add(task_of_log.get())
        if self.failure is not None:
            raise self.failure
        return {each: Job(each, "icon", "RUNNING") for each in job_ids}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()

    @asynccontextmanager
    async def shared_client(conn_id: str) -> AsyncIterator[Any]:
        yield found

    monkeypatch.setattr("airflow_provider_firecrest.hooks._clients.shared_client", shared_client)
    return found


async def ask(job_id: str, *, times: int = 1, pause: float = 0.05, spacing: float = 0.05) -> Answer | None:
    async with subscribe("c", "daint", [job_id], spacing=spacing) as place:
        answer = None
        for _ in range(times):
            answer = await place.ask(pause)
        return answer


async def test_those_who_come_together_are_asked_about_together(server: Server) -> None:
    answers = await asyncio.gather(*(ask(str(number)) for number in range(100)))
    assert len(server.questions) == 1
    assert sorted(server.questions[0]) == sorted(str(number) for number in range(100))
    assert all(answer and set(answer.jobs) == set(server.questions[0]) for answer in answers)


async def test_the_most_impatient_sets_the_pace_and_all_profit(server: Server) -> None:
    patient = asyncio.ensure_future(ask("1", pause=60.0))
    await ask("2", times=2)
    answer = await asyncio.wait_for(patient, 1)
    assert answer is not None
    assert "1" in answer.jobs


async def test_newcomers_do_not_make_it_ask_more_often_than_the_spacing(server: Server) -> None:
    async def late(number: int) -> None:
        await asyncio.sleep(0.05 * number)
        await ask(str(number), times=2, spacing=0.5)

    await asyncio.gather(*(late(number) for number in range(20)))
    # One second of arrivals, then half a second more for the last one's second answer.
    assert len(server.questions) <= 5


async def test_who_has_left_is_not_asked_about(server: Server) -> None:
    async with subscribe("c", "daint", ["stays"], spacing=0.05) as place:
        await asyncio.gather(place.ask(0.01), ask("leaves"))
        await place.ask(0.01)
    assert server.questions[-1] == ["stays"]


async def test_connections_and_systems_do_not_share(server: Server) -> None:
    async def one(conn_id: str, system: str) -> None:
        async with subscribe(conn_id, system, ["1"], spacing=0.05) as place:
            await place.ask(0.01)

    await asyncio.gather(one("a", "daint"), one("a", "eiger"), one("b", "daint"))
    assert len(server.questions) == 3


async def test_an_outage_is_an_answer_too(server: Server) -> None:
    server.failure = UnavailableError("down")
    answer = await ask("1")
    assert answer is not None
    assert answer.error is server.failure


async def test_a_bug_reaches_all_who_wait_and_the_next_ones_are_served_again(server: Server) -> None:
    server.failure = TypeError("a bug")
    failures = await asyncio.gather(*(ask(str(number)) for number in range(3)), return_exceptions=True)
    assert [type(each) for each in failures] == [TypeError] * 3
    async with subscribe("c", "daint", ["1"], spacing=0.05) as place:
        with pytest.raises(TypeError):
            await place.ask(0.01)
        server.failure = None
        answer = await place.ask(0.01)
    assert answer is not None
    assert answer.jobs


async def test_giving_up_gets_no_answer(server: Server) -> None:
    async with subscribe("c", "daint", ["1"], spacing=0.05) as place:
        assert await place.ask(60.0, give_up_after=0.05) is None
    assert server.questions == []


async def test_it_does_not_log_into_the_task_that_started_it(server: Server) -> None:
    task_of_log.set("the first task")
    await ask("1")
    assert server.contexts == {"nobody"}


async def test_the_last_one_to_leave_ends_it(server: Server) -> None:
    before = asyncio.all_tasks()
    poller = None
    async with subscribe("c", "daint", ["1"], spacing=0.05) as place:
        await place.ask(0.01)
        poller = place._poller
        assert len(asyncio.all_tasks()) == len(before) + 1
    assert isinstance(poller, JobPoller)
    assert asyncio.all_tasks() == before
