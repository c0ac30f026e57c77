"""Every state a scheduler can report means "goes on", "went well" or "went wrong"."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_firecrest.client import states
from airflow_provider_firecrest.client.states import Outcome

from .recorded import load, names

# Written down from Slurm's squeue and sacct manuals (JOB STATE CODES), not from the code under test.
ACTIVE = """
    COMPLETING CONFIGURING EXPEDITING PENDING POWER_UP_NODE REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING
    RESV_DEL_HOLD RUNNING SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED UPDATE_DB
""".split()  # noqa: SIM905
FAILED = """
    BOOT_FAIL CANCELLED DEADLINE FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED RECONFIG_FAIL REVOKED
    TIMEOUT
""".split()  # noqa: SIM905
SUCCEEDED = ["COMPLETED"]

SLURM_CODES = {
    "BF": Outcome.FAILED,
    "CA": Outcome.FAILED,
    "CD": Outcome.SUCCEEDED,
    "CF": Outcome.ACTIVE,
    "CG": Outcome.ACTIVE,
    "DL": Outcome.FAILED,
    "F": Outcome.FAILED,
    "NF": Outcome.FAILED,
    "OOM": Outcome.FAILED,
    "PD": Outcome.ACTIVE,
    "PR": Outcome.FAILED,
    "R": Outcome.ACTIVE,
    "RD": Outcome.ACTIVE,
    "RF": Outcome.ACTIVE,
    "RH": Outcome.ACTIVE,
    "RQ": Outcome.ACTIVE,
    "RS": Outcome.ACTIVE,
    "RV": Outcome.FAILED,
    "S": Outcome.ACTIVE,
    "SE": Outcome.ACTIVE,
    "SI": Outcome.ACTIVE,
    "SO": Outcome.ACTIVE,
    "ST": Outcome.ACTIVE,
    "TO": Outcome.FAILED,
}
# PBS's letters that do not collide with Slurm's; none of them says that a job is over.
PBS_ACTIVE = ["B", "E", "H", "M", "Q", "R", "S", "T", "U", "W"]


@pytest.fixture(autouse=True)
def _no_warning_given_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_warned", set())


@pytest.mark.parametrize("state", ACTIVE)
def test_a_job_in_an_active_state_goes_on(state: str, caplog: pytest.LogCaptureFixture) -> None:
    assert states.outcome(state) is Outcome.ACTIVE
    assert not states.is_final(state)
    assert not caplog.records


@pytest.mark.parametrize("state", FAILED)
def test_a_job_in_a_failed_state_is_over_and_failed(state: str) -> None:
    assert states.outcome(state) is Outcome.FAILED
    assert states.is_final(state)


def test_only_completed_is_success() -> None:
    assert states.outcome("COMPLETED") is Outcome.SUCCEEDED
    assert frozenset(SUCCEEDED) == states.SUCCEEDED


def test_the_table_of_states_is_complete_and_without_overlap() -> None:
    assert frozenset(ACTIVE) == states.ACTIVE
    assert frozenset(FAILED) == states.FAILED
    assert not (states.ACTIVE & states.FAILED) | (states.ACTIVE & states.SUCCEEDED)


@pytest.mark.parametrize(("code", "expected"), SLURM_CODES.items())
def test_short_codes_mean_what_their_words_mean(code: str, expected: Outcome) -> None:
    assert states.outcome(code) is expected


@pytest.mark.parametrize("letter", PBS_ACTIVE)
def test_no_letter_of_a_pbs_job_under_way_ends_the_waiting(
    letter: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert states.outcome(letter) is Outcome.ACTIVE
    assert not caplog.records


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("CANCELLED by 2001", Outcome.FAILED),
        ("CANCELLED by 0", Outcome.FAILED),
        ("CANCELLED+", Outcome.FAILED),
        ("cancelled by 2001", Outcome.FAILED),
        ("completed", Outcome.SUCCEEDED),
        ("  COMPLETED  ", Outcome.SUCCEEDED),
        ("Running", Outcome.ACTIVE),
        ("RUNNING COMPLETING", Outcome.ACTIVE),
        ("RUNNING,COMPLETING", Outcome.ACTIVE),
        ("COMPLETED*", Outcome.SUCCEEDED),
    ],
)
def test_only_the_first_word_counts_in_any_case_and_with_any_mark(state: str, expected: Outcome) -> None:
    assert states.outcome(state) is expected


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ([], Outcome.ACTIVE),
        (["COMPLETED"], Outcome.SUCCEEDED),
        (["COMPLETED", "COMPLETED"], Outcome.SUCCEEDED),
        (["COMPLETED", "FAILED"], Outcome.FAILED),
        (["FAILED", "RUNNING", "COMPLETED"], Outcome.ACTIVE),
        (["RUNNING", "COMPLETING"], Outcome.ACTIVE),
        (["CANCELLED by 2001", "COMPLETED"], Outcome.FAILED),
        (("PENDING",), Outcome.ACTIVE),
        ({"COMPLETED", "TIMEOUT"}, Outcome.FAILED),
    ],
)
def test_of_several_states_an_active_one_wins_then_a_failed_one(
    several: list[str], expected: Outcome
) -> None:
    assert states.outcome(several) is expected


def test_nothing_at_all_is_active() -> None:
    assert states.outcome(None) is Outcome.ACTIVE
    assert not states.is_final(None)


def test_an_unknown_state_goes_on_and_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        first = states.outcome("HIBERNATING")
        second = states.outcome("hibernating by 7")

    assert (first, second) == (Outcome.ACTIVE, Outcome.ACTIVE)
    assert [record.getMessage() for record in caplog.records].count(caplog.messages[0]) == 1
    assert len(caplog.records) == 1
    assert "HIBERNATING" in caplog.text


def test_every_recorded_state_is_known(caplog: pytest.LogCaptureFixture) -> None:
    def found(value: object) -> list[str]:
        if isinstance(value, dict):
            inner = [state for each in value.values() for state in found(each)]
            return [*inner, value["state"]] if isinstance(value.get("state"), str) else inner
        if isinstance(value, list):
            return [state for each in value for state in found(each)]
        return []

    seen = set()
    for name in names():
        if name.startswith("job"):
            seen.update(found(load(name).get("response", {}).get("json")))
    for state in seen:
        states.outcome(state)

    assert {"COMPLETED", "CANCELLED by 2001", "TIMEOUT", "SUSPENDED", "PENDING", "RUNNING", "FAILED"} <= seen
    assert not caplog.records
