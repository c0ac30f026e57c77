"""The short form of the fault suite: some tasks under every kind of scenario, on both API generations.

`make faults` runs them all with many more tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.abreast import Campaigns, Case
from tests.faults.campaign import TUNING
from tests.faults.fileops import FILEOP_SCENARIOS
from tests.faults.miniature import Lane
from tests.faults.scenarios import JOB_SCENARIOS
from tests.faults.transfer_scenarios import TRANSFER_SCENARIOS

SEED = 20


def cases(*found: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", found, ids=[f"v{each.generation}-{each.name}" for each in found])


@pytest.fixture(scope="module")
def campaigns(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Campaigns]:
    """All campaigns that the chosen tests are about, begun together: one after the other takes minutes."""
    folder = tmp_path_factory.mktemp("campaigns")
    with (
        Lane(folder / "lane", TUNING, abreast=4) as lane,
        Campaigns(folder, lane, servers=3) as campaigns,
    ):
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.module is request.module:
                campaigns.begin(item.callspec.params["case"])
        yield campaigns


def assert_nothing_went_wrong(campaigns: Campaigns, case: Case) -> None:
    findings = campaigns.findings(case)
    assert findings.runs == case.runs
    assert findings.clean, "\n".join(findings.notes)


@cases(
    *(
        Case(name, generation, runs, SEED)
        for name, runs in (
            ("everything at once", 6),
            ("new jobs hidden for longer than one looks", 3),
            ("answers lost after the submit", 6),
            ("worker killed at a boundary", 6),
            ("jobs that fail once, worker killed", 3),
        )
        for generation in (1, 2)
    ),
    *(
        Case(f"our clock {clock}, worker killed", generation, 4, SEED)
        for clock, generation in (("two hours ahead", 1), ("two hours behind", 2), ("jumps", 2))
    ),
)
def test_every_job_runs_once_and_none_is_lost(case: Case, campaigns: Campaigns) -> None:
    assert_nothing_went_wrong(campaigns, case)


@cases(*(Case(scenario.name, 1, 3, SEED) for scenario in JOB_SCENARIOS if scenario.only == 1))
def test_tasks_of_v1_that_lie_lead_to_no_second_job(case: Case, campaigns: Campaigns) -> None:
    assert_nothing_went_wrong(campaigns, case)


@cases(
    # What needs a server of its own is left to `make faults`.
    *(Case(scenario.name, 2, 2, SEED) for scenario in TRANSFER_SCENARIOS if not scenario.server),
    *(
        Case(f"transfers: {name}", 1, 2, SEED)
        for name in ("worker killed", "objects that change while they are fetched", "no room on the system")
    ),
)
def test_files_arrive_as_they_are_or_not_at_all(case: Case, campaigns: Campaigns) -> None:
    assert_nothing_went_wrong(campaigns, case)


@cases(
    *(
        Case(scenario.name, generation, 4, SEED)
        for scenario in FILEOP_SCENARIOS
        for generation in ([scenario.only] if scenario.only else [1, 2])
    )
)
def test_an_operation_on_the_systems_files_happens_once_and_wholly_or_says_why_not(
    case: Case, campaigns: Campaigns
) -> None:
    assert_nothing_went_wrong(campaigns, case)


@cases(
    *(Case("worker killed at a boundary", generation, 6, SEED + 1, unguarded=True) for generation in (2, 1))
)
def test_without_mark_and_fence_the_same_faults_do_make_duplicates(case: Case, campaigns: Campaigns) -> None:
    """The suite can fail: what it counts as zero is there when nothing prevents it."""
    assert campaigns.findings(case).duplicates > 0
