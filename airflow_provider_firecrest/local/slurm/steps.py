"""Job steps, as the ``srun`` command writes them down.

Knows: the step files. Must not know: who reads them.
"""

from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_firecrest.local.slurm.records import Step


def read_steps(directory: Path) -> list[Step]:
    """Steps of one run of a job in the order of their numbers; a step just being created is left out."""
    if not directory.is_dir():
        return []
    numbers = sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())
    found = (_read(directory / str(number)) for number in numbers)
    return [step for step in found if step is not None]


def _read(path: Path) -> Step | None:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    step = Step(name=data["name"], start=data["start"], end=data.get("end"))
    if step.end is not None:
        step.exit_code, step.signal = data["code"], data["signal"]
        step.state = ended_state(step.exit_code, step.signal)
    return step


def ended_state(exit_code: int, signal: int) -> str:
    """A step's last state: accounting calls a step that a signal ended CANCELLED."""
    if signal:
        return "CANCELLED"
    return "FAILED" if exit_code else "COMPLETED"


def close_steps(steps: list[Step], end: float, signal: int) -> None:
    """Steps still open when their job has ended went with it."""
    for step in steps:
        if step.end is None:
            step.end = end
            step.state, step.signal = "CANCELLED", signal or 9
