"""What one running server consists of, and how a request finds it.

Knows: the parts and their lifetimes. Must not know: endpoints.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from airflow_provider_firecrest.local.config import LocalConfig
from airflow_provider_firecrest.local.faults import FaultSwitch
from airflow_provider_firecrest.local.object_store import ObjectStore
from airflow_provider_firecrest.local.presign import Presigner
from airflow_provider_firecrest.local.requests_log import RequestLog
from airflow_provider_firecrest.local.sandbox import Sandbox
from airflow_provider_firecrest.local.shell import Shell
from airflow_provider_firecrest.local.slurm import Partition, Scheduler, SchedulerConfig
from airflow_provider_firecrest.local.tokens import TokenIssuer


@dataclass
class LocalState:
    """The parts of one server; routers find it as ``request.app.state.firecrest``."""

    config: LocalConfig
    origin: str
    client_secret: str
    sandbox: Sandbox
    scheduler: Scheduler
    store: ObjectStore
    presigner: Presigner
    tokens: TokenIssuer
    shell: Shell
    faults: FaultSwitch
    requests: RequestLog

    @property
    def base_url(self) -> str:
        """What a client's connection names as its host."""
        return f"{self.origin}/v2"

    @property
    def base_url_v1(self) -> str:
        """The same for FirecREST v1."""
        return f"{self.origin}/v1"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.origin}/token"

    @property
    def s3_url(self) -> str:
        """Where the object store answers."""
        return f"{self.origin}/s3"

    def hold_file(self) -> Path:
        """A new file that holds a job back as long as it exists."""
        directory = self.sandbox.state / "holds"
        directory.mkdir(exist_ok=True)
        file = directory / uuid.uuid4().hex
        file.touch()
        return file

    def release_holds(self) -> None:
        """Let the jobs that are held back go on."""
        for file in (self.sandbox.state / "holds").glob("*"):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop every job, then remove what is temporary."""
        self.scheduler.close()
        self.store.close()
        self.sandbox.close()


def build_state(config: LocalConfig, sandbox: Sandbox, origin: str) -> LocalState:
    """Make the parts of a server that will answer at ``origin`` (scheme, host and port)."""
    secret = config.client_secret or secrets.token_urlsafe(18)
    scheduler_config = SchedulerConfig(
        cpus=config.cpus,
        partitions=(
            Partition("part01", default=True),
            Partition("part02"),
            Partition("xfer"),
            Partition("jupyter", hidden=True),
        ),
        accounts=config.accounts,
        default_time_limit=config.default_time_limit,
        min_job_age=config.min_job_age,
        user=config.user,
        uids={config.user: config.uid, config.other_user: config.other_uid},
        homes={user: str(sandbox.home / user) for user in config.known_users},
    )
    return LocalState(
        config=config,
        origin=origin,
        client_secret=secret,
        sandbox=sandbox,
        scheduler=Scheduler(sandbox.state / "scheduler", scheduler_config),
        store=ObjectStore(
            sandbox.state / "objects", smallest_part=min(5 * 1024 * 1024, config.max_part_size)
        ),
        presigner=Presigner(config.url_ttl),
        tokens=TokenIssuer(config.client_id, secret, config.token_ttl, config.user),
        shell=Shell(config.ops_timeout, config.max_ops_file_size),
        faults=FaultSwitch(),
        requests=RequestLog(),
    )


def state_of(request: Request) -> LocalState:
    """The server a request came to."""
    state = request.app.state.firecrest
    assert isinstance(state, LocalState)
    return state
