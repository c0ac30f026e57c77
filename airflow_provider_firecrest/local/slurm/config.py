"""What the pretended cluster consists of: nodes, partitions, accounts, time constants.

Knows: static facts. Must not know: jobs, processes, HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Partition:
    """One partition. ``max_time`` in seconds; a job asking for more stays PENDING (PartitionTimeLimit)."""

    name: str
    max_time: int | None = 7 * 86400
    default: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Reservation:
    """One reservation; times in seconds since the epoch, ``nodes`` as a Slurm node list."""

    name: str
    nodes: str
    start_time: int
    end_time: int
    features: str = ""
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class SchedulerConfig:
    """Size and rules of the pretended cluster.

    Args:
        cpus: CPUs of the whole cluster; jobs queue when they are taken.
        nodes: node names; the CPUs are shared by all of them.
        memory_mb: memory of one node; a request above it is refused, nothing is measured.
        partitions: exactly one should be the default.
        accounts: the first one is every user's default.
        features: what ``--constraint`` may name.
        default_time_limit: limit of a job that asks for none, in seconds (None: unlimited).
        min_job_age: how long ``squeue``/``scontrol`` remember a finished job, in seconds.
        kill_wait: seconds between SIGTERM and SIGKILL.
        max_script_size: bytes of a batch script; Slurm's own default.
        requeue_delay: seconds a requeued job waits before it may start again.
        user: whose uid is the first one in ``uids``.
        uids: numeric user ids shown in "CANCELLED by UID"; unknown users get 65534.
        homes: home directory per user; a user without one gets a directory under the state directory.
    """

    cpus: int = 2
    nodes: tuple[str, ...] = ("nid001",)
    memory_mb: int = 16000
    partitions: tuple[Partition, ...] = (
        Partition("part01", default=True),
        Partition("part02"),
        Partition("xfer"),
    )
    accounts: tuple[str, ...] = ("project",)
    reservations: tuple[Reservation, ...] = ()
    features: tuple[str, ...] = ("f7t", "mc")
    default_time_limit: int | None = 3600
    min_job_age: float = 300.0
    kill_wait: float = 2.0
    max_script_size: int = 4 * 1024 * 1024
    user: str = "fireuser"
    uids: Mapping[str, int] = field(default_factory=lambda: {"fireuser": 2001, "otheruser": 2002})
    homes: Mapping[str, str] = field(default_factory=dict)
    requeue_delay: float = 1.0
    cluster: str = "cluster"
    version: str = "22.05.8"

    @property
    def default_partition(self) -> Partition:
        """The partition of a job that names none."""
        return next((p for p in self.partitions if p.default), self.partitions[0])

    def partition(self, name: str) -> Partition | None:
        """The partition of that name, None when there is none."""
        return next((p for p in self.partitions if p.name == name), None)

    def uid(self, user: str) -> int:
        """Numeric id of a user."""
        return self.uids.get(user, 65534)
