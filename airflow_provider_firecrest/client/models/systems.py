"""Systems, what they consist of, their health, and the user on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..limits import DEFAULT_MAX_OPS_FILE_SIZE
from .reading import integer, text


@dataclass(frozen=True)
class FileSystem:
    """A file system of a system, by its mount path."""

    path: str
    data_type: str | None = None
    default_work_dir: bool = False


@dataclass(frozen=True)
class ServiceHealth:
    """The server's last look at one of its back ends (scheduler, ssh, filesystem, s3)."""

    service: str
    healthy: bool
    message: str | None = None
    path: str | None = None
    last_checked: str | None = None


@dataclass(frozen=True)
class System:
    """One HPC system behind a FirecREST.

    :ivar max_ops_file_size: bytes; larger files need a transfer job.
    :ivar transfer_method: ``s3``, ``streamer``, ``wormhole`` or None where nothing is configured.
    :ivar needs_transfer_account: transfer jobs must name an account here.
    """

    name: str
    scheduler: str | None = None
    scheduler_version: str | None = None
    file_systems: tuple[FileSystem, ...] = ()
    health: tuple[ServiceHealth, ...] = ()
    max_ops_file_size: int = DEFAULT_MAX_OPS_FILE_SIZE
    transfer_method: str | None = None
    max_part_size: int | None = None
    needs_transfer_account: bool = False

    @property
    def default_work_dir(self) -> str | None:
        """Mount path of the file system marked as default for work, or None."""
        return next((fs.path for fs in self.file_systems if fs.default_work_dir), None)

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> System:
        scheduler = row.get("scheduler") or {}
        operation = row.get("dataOperation") or {}
        transfer = operation.get("data_transfer") or operation.get("dataTransfer") or {}
        directives = (
            operation.get("datatransfer_jobs_directives") or operation.get("datatransferJobsDirectives") or ()
        )
        limit = operation.get("max_ops_file_size") or operation.get("maxOpsFileSize")
        return cls(
            name=str(row.get("name", "")),
            scheduler=text(scheduler.get("type")),
            scheduler_version=text(scheduler.get("version")),
            file_systems=tuple(
                FileSystem(str(fs.get("path", "")), text(fs.get("dataType")), bool(fs.get("defaultWorkDir")))
                for fs in row.get("fileSystems") or ()
            ),
            health=tuple(
                ServiceHealth(
                    service=str(each.get("serviceType", "")),
                    healthy=bool(each.get("healthy")),
                    message=text(each.get("message")),
                    path=text(each.get("path")),
                    last_checked=text(each.get("lastChecked")),
                )
                for each in row.get("servicesHealth") or ()
            ),
            max_ops_file_size=integer(limit) or DEFAULT_MAX_OPS_FILE_SIZE,
            transfer_method=text(transfer.get("serviceType")),
            max_part_size=integer((transfer.get("multipart") or {}).get("max_part_size")),
            needs_transfer_account=any("{account}" in str(line) for line in directives),
        )


@dataclass(frozen=True)
class Node:
    """One compute node as the scheduler sees it."""

    name: str
    states: tuple[str, ...] = ()
    cpus: int | None = None
    allocated_cpus: int | None = None
    idle_cpus: int | None = None
    free_memory: int | None = None
    partitions: tuple[str, ...] = ()
    features: str | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> Node:
        features = row.get("features")
        return cls(
            name=str(row.get("name", "")),
            states=_words(row.get("state")),
            cpus=integer(row.get("cpus")),
            allocated_cpus=integer(row.get("allocCpus")),
            idle_cpus=integer(row.get("idleCpus")),
            free_memory=integer(row.get("freeMemory")),
            partitions=_words(row.get("partitions")),
            features=",".join(features) if isinstance(features, list) else text(features),
        )


@dataclass(frozen=True)
class Partition:
    """One partition of the scheduler; ``states`` is ``("UP",)`` when jobs can start."""

    name: str
    states: tuple[str, ...] = ()
    cpus: int | None = None
    nodes: int | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> Partition:
        return cls(
            name=str(row.get("name", "")),
            states=_words(row.get("partition")),
            cpus=integer(row.get("cpus")),
            nodes=integer(row.get("totalNodes")),
        )


@dataclass(frozen=True)
class Reservation:
    """One reservation; times in seconds since the epoch."""

    name: str
    nodes: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    features: str | None = None
    state: str | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> Reservation:
        return cls(
            name=str(row.get("name", "")),
            nodes=text(row.get("nodeList")),
            start_time=integer(row.get("startTime")),
            end_time=integer(row.get("endTime")),
            features=text(row.get("features")),
            state=text(row.get("state")),
        )


@dataclass(frozen=True)
class UserInfo:
    """The user on the system that the token stands for.

    :ivar accounts: Slurm accounts; ``default_account`` is the one used when a job names none.
    """

    name: str
    uid: str | None = None
    group: str | None = None
    groups: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    default_account: str | None = None

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> UserInfo:
        accounts = answer.get("accounts") or ()
        return cls(
            name=str(answer["user"]["name"]),
            uid=text(answer["user"].get("id")),
            group=text((answer.get("group") or {}).get("name")),
            groups=tuple(str(each.get("name")) for each in answer.get("groups") or ()),
            accounts=tuple(str(each.get("name")) for each in accounts),
            default_account=next((str(each.get("name")) for each in accounts if each.get("default")), None),
        )


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value)
