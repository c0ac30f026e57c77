"""Every recording is replayed by some test or is out of reach for a stated reason: nothing falls between."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

from tests.conformance.harness import RECORDINGS, names

MODULES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("test_*.py")
    if path.stem != "test_v2_coverage" and "v1" not in path.stem
)
_OUTAGE = "a part of the recorded machine was taken down; the local server cannot take down one of its own"
OUTAGES = {name: _OUTAGE for name in names() if name.startswith("down_")}


def _claims() -> tuple[list[str], dict[str, str]]:
    replayed: list[str] = []
    out_of_reach: dict[str, str] = dict(OUTAGES)
    for name in MODULES:
        module = importlib.import_module(f"tests.conformance.{name}")
        replayed += list(module.REPLAYED)
        out_of_reach |= module.OUT_OF_REACH
    return replayed, out_of_reach


def test_every_recording_is_replayed_or_has_a_reason_why_not() -> None:
    replayed, out_of_reach = _claims()

    missing = sorted(set(names()) - set(replayed) - set(out_of_reach))
    unknown = sorted((set(replayed) | set(out_of_reach)) - set(names()))
    assert missing == []
    assert unknown == []
    assert len(set(replayed)) + len(out_of_reach) == len(names())


def test_no_recording_is_both_replayed_and_out_of_reach() -> None:
    replayed, out_of_reach = _claims()

    assert sorted(set(replayed) & set(out_of_reach)) == []


def test_no_recording_is_claimed_twice() -> None:
    counts = Counter(_claims()[0])

    assert [name for name, count in counts.items() if count > 1] == []


def test_every_reason_says_something() -> None:
    _, out_of_reach = _claims()

    assert [name for name, reason in out_of_reach.items() if len(reason.split()) < 4] == []


def test_manifest_names_exactly_what_is_kept_and_what_is_not() -> None:
    kept = {path.stem for path in RECORDINGS.glob("*.json")}
    dropped = {"metadata_ingress_transfer_job", "transfer_ingress_exhausted_submit"}

    assert kept | dropped == set(names())
