"""Pages of a job list.

Knows: ``pageSize`` and ``pageNumber`` as the compute service reads them. Must not know: jobs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from airflow_provider_firecrest.local.v1.tasks import TaskFailed

_T = TypeVar("_T")
_DEFAULT_SIZE = 25


class EndlessPage(Exception):
    """A page of size 0: the server's worker dies of it, and the task never ends."""


def page(rows: Sequence[_T], wanted: Mapping[str, str]) -> Sequence[_T]:
    """The wanted page of ``rows``, counted from 0; all rows when no page is wanted.

    Raises:
        EndlessPage: the page size is 0.
        TaskFailed: a negative page, or one after the last.
    """
    if "pageSize" not in wanted and "pageNumber" not in wanted:
        return rows
    size = _integer(wanted.get("pageSize"), _DEFAULT_SIZE)
    number = _integer(wanted.get("pageNumber"), 0)
    if number < 0:
        raise TaskFailed(f"pageNumber ({number}) cannot be a negative number")
    if size == 0:
        raise EndlessPage
    total = math.ceil(len(rows) / size)
    if number > total:
        raise TaskFailed(f"pageNumber ({number}) is greater than total pages ({total})")
    return rows[number * size : (number + 1) * size]


def _integer(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(text)
    except ValueError:
        return default
