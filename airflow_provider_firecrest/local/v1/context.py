"""What the v1 server has of its own: settings that can be changed while it runs, tasks, caches.

Knows: the parts and how a request finds them. Must not know: endpoints.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from airflow_provider_firecrest.local.state import LocalState
from airflow_provider_firecrest.local.v1.tasks import TaskStore

# Published like a real system, but its SSH port refuses every connection.
DOWN_MACHINE = "downcluster"
# Published, but its name cannot be resolved.
NO_HOST_MACHINE = "nohostcluster"


@dataclass
class V1Settings:
    """Settings tests change through ``/control/v1``.

    Args:
        polling_interval: seconds between two looks for a staged file.
        acct_lag: seconds until accounting shows a new job; three times as long while it is not eligible.
        account_from_group: charge transfer jobs without an account to the user's unix group.
        task_delay: seconds every task stays at 100 at least.
        array_info_delay: seconds a squeue call loses with each waiting array (real servers: 5).
        cache_ttl: seconds the status service repeats an answer.
        url_ttl: life of a staged object's URL in seconds; None takes the server's.
        down: machines whose SSH port refuses connections.
    """

    polling_interval: float = 1.0
    acct_lag: float = 0.3
    account_from_group: bool = False
    task_delay: float = 0.05
    array_info_delay: float = 0.2
    cache_ttl: float = 960.0
    url_ttl: int | None = None
    down: list[str] = field(default_factory=lambda: [DOWN_MACHINE])


@dataclass
class V1:
    """The v1 server around a local FirecREST; routers find it as ``request.app.state.v1``."""

    local: LocalState
    settings: V1Settings
    tasks: TaskStore = field(default_factory=TaskStore)
    status_cache: dict[str, tuple[float, Any]] = field(default_factory=dict)
    reservations: dict[str, Any] = field(default_factory=dict)
    # Path of the script of every job submitted here, by job id.
    scripts: dict[str, str] = field(default_factory=dict)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def machines(self) -> tuple[str, ...]:
        """Every published machine, the working ones first."""
        return (*(system.name for system in self.local.config.systems), DOWN_MACHINE, NO_HOST_MACHINE)

    @property
    def jobs_machine(self) -> str:
        """Where transfer jobs run, whatever machine the request names."""
        return self.local.config.systems[0].name

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the requests; it ends with the server."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # Its FirecREST task stays as it is for ever, as on the real server; here somebody should know.
            traceback.print_exception(error, file=sys.stderr)


def build_v1(local: LocalState) -> V1:
    """The v1 server with the settings of the local one's configuration."""
    config = local.config
    settings = V1Settings(
        polling_interval=config.v1_polling_interval,
        acct_lag=config.v1_acct_lag,
        account_from_group=config.v1_account_from_group,
    )
    return V1(local, settings)


def v1_of(request: Request) -> V1:
    """The v1 server a request came to."""
    v1 = request.app.state.v1
    assert isinstance(v1, V1)
    return v1
