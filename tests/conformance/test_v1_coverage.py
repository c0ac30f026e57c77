"""Every v1 recording is replayed by some test or is out of reach for a stated reason."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

from tests.conformance.v1_harness import RECORDINGS, names

MODULES = sorted(
    path.stem for path in Path(__file__).parent.glob("test_*v1*.py") if path.stem != "test_v1_coverage"
)
_MOST = 3_000_000


def _claims() -> tuple[list[str], dict[str, str]]:
    replayed: list[str] = []
    out_of_reach: dict[str, str] = {}
    for name in MODULES:
        module = importlib.import_module(f"tests.conformance.{name}")
        replayed += list(module.REPLAYED)
        out_of_reach |= module.OUT_OF_REACH
    return replayed, out_of_reach


def test_every_recording_is_replayed_or_has_a_reason_why_not() -> None:
    replayed, out_of_reach = _claims()

    assert sorted(set(names()) - set(replayed) - set(out_of_reach)) == []
    assert sorted((set(replayed) | set(out_of_reach)) - set(names())) == []
    assert len(replayed) + len(out_of_reach) == len(names())


def test_no_recording_is_claimed_twice() -> None:
    replayed, out_of_reach = _claims()

    counts = Counter([*replayed, *out_of_reach])
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_reason_says_something() -> None:
    _, out_of_reach = _claims()

    assert [name for name, reason in out_of_reach.items() if len(reason.split()) < 4] == []


def test_manifest_names_exactly_what_is_kept() -> None:
    assert sorted(path.stem for path in RECORDINGS.glob("*.json")) == sorted(names())


def test_recordings_stay_small() -> None:
    assert sum(path.stat().st_size for path in RECORDINGS.iterdir()) < _MOST
