"""The short form of the fault suite: some tasks under the scenarios that say most, on both API generations.

`make faults` runs all scenarios with many more tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from tests.faults.campaign import SERVER, Site, open_lanes, run_campaign
from tests.faults.judge import Findings
from tests.faults.miniature import Lane
from tests.faults.scenarios import JOB_SCENARIOS, Scenario
from tests.faults.transfers import TRANSFER_SCENARIOS, run_transfer_campaign

SEED = 20
BY_NAME = {scenario.name: scenario for scenario in (*JOB_SCENARIOS, *TRANSFER_SCENARIOS)}
BOTH = pytest.mark.parametrize("generation", [2, 1], ids=["v2", "v1"])


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Lane]]:
    with open_lanes(tmp_path_factory.mktemp("lanes"), 3) as lanes:
        yield lanes


@pytest.fixture(scope="module")
def server() -> Iterator[LocalFirecrest]:
    with LocalFirecrest(**SERVER) as server:
        yield server


def assert_nothing_went_wrong(findings: Findings) -> None:
    assert findings.clean, "\n".join(findings.notes)


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("answers lost after the submit", 6),
        ("worker killed at a boundary", 6),
        ("jobs that fail once, worker killed", 3),
        ("new jobs hidden for longer than one looks", 3),
        ("everything at once", 6),
    ],
)
@BOTH
def test_every_job_runs_once_and_none_is_lost(
    name: str, runs: int, generation: int, lanes: Sequence[Lane], server: LocalFirecrest, tmp_path: Path
) -> None:
    site = Site(server, generation, tmp_path)
    findings = run_campaign(site, BY_NAME[name], runs=runs, lanes=lanes, seed=SEED)
    assert_nothing_went_wrong(findings)


@pytest.mark.parametrize(
    "name", [scenario.name for scenario in JOB_SCENARIOS if scenario.only == 1], ids=lambda name: name
)
def test_tasks_of_v1_that_lie_lead_to_no_second_job(
    name: str, lanes: Sequence[Lane], server: LocalFirecrest, tmp_path: Path
) -> None:
    findings = run_campaign(Site(server, 1, tmp_path), BY_NAME[name], runs=3, lanes=lanes, seed=SEED)
    assert_nothing_went_wrong(findings)


@pytest.mark.parametrize("name", [scenario.name for scenario in TRANSFER_SCENARIOS])
def test_files_arrive_as_they_are_or_not_at_all(
    name: str, lanes: Sequence[Lane], server: LocalFirecrest, tmp_path: Path
) -> None:
    findings = run_transfer_campaign(Site(server, 2, tmp_path), BY_NAME[name], runs=3, lanes=lanes, seed=SEED)
    assert_nothing_went_wrong(findings)


@BOTH
def test_without_mark_and_fence_the_same_faults_do_make_duplicates(
    generation: int, lanes: Sequence[Lane], server: LocalFirecrest, tmp_path: Path
) -> None:
    """The suite can fail: what it counts as zero is there when nothing prevents it."""
    scenario: Scenario = BY_NAME["worker killed at a boundary"]
    findings = run_campaign(
        Site(server, generation, tmp_path),
        scenario,
        runs=6,
        lanes=lanes,
        seed=SEED + 1,
        arguments={"fence": False, "reattach": "never"},
    )
    assert findings.duplicates > 0
