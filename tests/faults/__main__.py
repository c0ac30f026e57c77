"""The long form of the fault suite: many tasks under each scenario, one table, and an exit code.

python -m tests.faults --runs 32 --abreast 6 --seed 1
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_firecrest.local import LocalFirecrest
from tests.faults.abreast import SCENARIOS, Case
from tests.faults.campaign import SERVER, TUNING
from tests.faults.judge import Findings
from tests.faults.miniature import Lane
from tests.faults.scenarios import Scenario

COLUMNS = ("runs", "trouble", "duplicates", "lost", "wrong_bytes", "orphans", "leaks")
ROUNDS = 6
"""Times that a scenario is run, with another seed each, until it has met trouble; a row without any says
nothing, and is a failure."""


def main(arguments: list[str] | None = None) -> int:
    """Run every scenario on every API generation asked for; 0 only if nothing went wrong."""
    options = _options(arguments)
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
        del os.environ[name]
    began, total = time.monotonic(), Findings()
    silent: list[str] = []
    _print_row("scenario", list(COLUMNS))
    with tempfile.TemporaryDirectory(prefix="firecrest-faults-") as folder:
        os.environ["AIRFLOW_HOME"] = folder
        with Lane(Path(folder, "lane"), TUNING, abreast=options.abreast) as lane:
            for generation in options.api:
                for scenario in _wanted(generation, options.only):
                    row = f"v{generation} {scenario.name}"
                    found = _until_trouble(Path(folder, row), scenario, generation, lane, options)
                    if not found.trouble:
                        silent.append(row)
                        found.notes.append("nothing went wrong there, so that this row says nothing")
                    _print_row(row, [getattr(found, column) for column in COLUMNS])
                    _add(total, found, row)
    _print_row("all", [getattr(total, column) for column in COLUMNS])
    print(f"{time.monotonic() - began:.0f} s, seed {options.seed}")
    for note in total.notes[:200]:
        print(note)
    return 0 if total.clean and total.trouble and not silent else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=32, help="tasks for each scenario (default: 32)")
    parser.add_argument("--abreast", type=int, default=6, help="tasks at a time (default: 6)")
    parser.add_argument("--seed", type=int, default=1, help="start of every draw (default: 1)")
    parser.add_argument("--api", type=int, nargs="*", default=[2, 1], choices=[1, 2])
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    return parser.parse_args(arguments)


def _wanted(generation: int, only: str) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if scenario.only in (0, generation) and only in scenario.name]


def _until_trouble(
    folder: Path, scenario: Scenario, generation: int, lane: Lane, options: argparse.Namespace
) -> Findings:
    found, runs = Findings(), max(1, round(options.runs * scenario.share))
    # A server for each scenario: a list of thousands of jobs would make every look-up slow.
    with LocalFirecrest(**{**SERVER, **scenario.server}) as server:
        for number in range(ROUNDS):
            case = Case(scenario.name, generation, runs, options.seed + number)
            _add(found, case.run(server, folder, lane))
            if found.trouble:
                break
    return found


def _add(total: Findings, found: Findings, row: str = "") -> None:
    for column in COLUMNS:
        setattr(total, column, getattr(total, column) + getattr(found, column))
    total.notes += [f"{row}: {note}" if row else note for note in found.notes]


def _print_row(name: str, values: list[object]) -> None:
    cells = "".join(f"{value!s:>12}" for value in values)
    print(f"{name:<56}{cells}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
