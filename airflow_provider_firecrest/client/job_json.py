"""A job as plain JSON and back: what triggers' events and XComs carry of it.

Not an instance of :class:`Job`: Airflow reads back from events and XComs only classes of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from .models import Job, JobElement
from .states import Outcome, outcome

MAX_ELEMENTS = 1000
"""Elements of an array carried in events and results; failed ones first when there are more."""


def job_as_dict(job: Job) -> dict[str, Any]:
    """Return a job as plain JSON (no steps, at most :data:`MAX_ELEMENTS` elements); the inverse of
    :func:`job_from_dict`.
    """
    fields = asdict(job)
    del fields["steps"]
    fields["elements"] = [asdict(each) for each in few_elements(job.elements)]
    return fields


def job_from_dict(fields: Mapping[str, Any]) -> Job:
    """Return the job that :func:`job_as_dict` wrote down; fields of other versions are ignored."""
    known = {
        key: value for key, value in fields.items() if key in Job.__dataclass_fields__ and key != "steps"
    }
    known["elements"] = tuple(JobElement(**each) for each in fields.get("elements") or ())
    return Job(**known)


def few_elements(elements: Iterable[JobElement]) -> list[JobElement]:
    """Return at most :data:`MAX_ELEMENTS` elements by index;

    of more, those that did not succeed are kept first.
    """
    found = list(elements)
    if len(found) > MAX_ELEMENTS:
        found.sort(key=lambda each: (outcome(each.state) is Outcome.SUCCEEDED, each.task_index))
        found = sorted(found[:MAX_ELEMENTS], key=lambda each: each.task_index)
    return found
