"""FirecREST's answers as frozen dataclasses, in the field's words.

Knows how answers are shaped and how to read them tolerantly: unknown fields are ignored, missing ones are
``None``, ids are
text, sizes are bytes, times are seconds since the epoch, durations are seconds. Job arrays are merged in
``arrays``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import states
from .limits import DEFAULT_MAX_OPS_FILE_SIZE

# PBS has one letter for "finished", however it went; the exit code tells (Slurm sends whole words).
_PBS_FINISHED = ("F", "X")


def _int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _str(value: Any) -> str | None:
    return None if value is None else str(value)


@dataclass(frozen=True)
class JobStep:
    """One step of a job (`sacct` rows like ``1.batch``, ``1.0``). A failed step does not fail its job."""

    step_id: str
    name: str
    state: str
    exit_code: int | None = None
    signal: int | None = None
    elapsed: int | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> JobStep:
        status, time = row.get("status") or {}, row.get("time") or {}
        return cls(
            step_id=str(row.get("id", "")),
            name=str(row.get("name", "")),
            state=str(status.get("state", "")),
            exit_code=_int(status.get("exitCode")),
            signal=_int(status.get("interruptSignal")),
            elapsed=_int(time.get("elapsed")),
        )


@dataclass(frozen=True)
class JobElement:
    """One element of a job array."""

    task_index: int
    job_id: str
    state: str
    exit_code: int | None = None
    signal: int | None = None
    elapsed: int | None = None
    nodes: str | None = None


@dataclass(frozen=True)
class Job:
    """One Slurm job; an array is one `Job` with its elements.

    :ivar job_id: the id that the submit returned.
    :ivar state: Slurm's word for a single job; for an array the state that decides (active before failed
        before succeeded).
    :ivar state_reason: Slurm's reason (`Dependency`, `BeginTime`, ...), None when there is none.
    :ivar exit_code: of the batch script; meaningless for CANCELLED and TIMEOUT (0 there). Of the first failed
        element for arrays.
    :ivar signal: the signal that ended it, 0 for none.
    :ivar submit_time: never sent by v2 as such; None.
    :ivar start_time: seconds since the epoch; None while pending (the scheduler's estimate is left out).
    :ivar elapsed: seconds run so far; the longest element's for arrays.
    :ivar time_limit: seconds.
    :ivar elements: one per array element known so far; empty for a plain job.
    :ivar waiting: number of array elements that have not started.
    """

    job_id: str
    name: str
    state: str
    state_reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    user: str | None = None
    account: str | None = None
    partition: str | None = None
    nodes: str | None = None
    allocated_nodes: int | None = None
    working_dir: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    elapsed: int | None = None
    time_limit: int | None = None
    steps: tuple[JobStep, ...] = ()
    elements: tuple[JobElement, ...] = ()
    waiting: int = 0

    @property
    def outcome(self) -> states.Outcome:
        return states.outcome(self.state)

    @property
    def is_final(self) -> bool:
        return self.outcome is not states.Outcome.ACTIVE

    @property
    def succeeded(self) -> bool:
        return self.outcome is states.Outcome.SUCCEEDED

    @property
    def is_array(self) -> bool:
        return bool(self.elements) or self.waiting > 0

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> Job:
        """Read one row of `GET /compute/{system}/jobs`; ``arrays.merge`` joins the rows of an array."""
        status, time = row.get("status") or {}, row.get("time") or {}
        state = status.get("state")
        state = " ".join(state) if isinstance(state, list) else str(state or "")
        if state in _PBS_FINISHED:
            state = "COMPLETED" if _int(status.get("exitCode")) == 0 else "FAILED"
        pending = states.normalise(state) == "PENDING"
        final = states.is_final(state)
        reason = _str(status.get("stateReason"))
        return cls(
            job_id=str(row.get("jobId", "")),
            name=str(row.get("name") or ""),
            state=state,
            state_reason=None if reason in (None, "None", "") else reason,
            exit_code=_int(status.get("exitCode")),
            signal=_int(status.get("interruptSignal")),
            user=_str(row.get("user")),
            account=_str(row.get("account")),
            partition=_str(row.get("partition")) or None,
            nodes=None if row.get("nodes") in (None, "", "None assigned") else str(row["nodes"]),
            allocated_nodes=_int(row.get("allocationNodes")),
            working_dir=_str(row.get("workingDirectory")) or None,
            # squeue gives estimates in the future for what has not happened yet.
            start_time=None if pending else _int(time.get("start")),
            end_time=_int(time.get("end")) if final else None,
            elapsed=_int(time.get("elapsed")),
            time_limit=_int(time.get("limit")),
            steps=tuple(JobStep.from_v2(step) for step in row.get("tasks") or ()),
        )


@dataclass(frozen=True)
class JobMetadata:
    """What the scheduler remembers of a job's script and streams (about five minutes after its end on older
    Slurm).
    """

    job_id: str
    script: str | None = field(default=None, repr=False)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> JobMetadata:
        return cls(
            job_id=str(row.get("jobId", "")),
            script=_str(row.get("script")),
            stdin=_str(row.get("standardInput")),
            stdout=_str(row.get("standardOutput")),
            stderr=_str(row.get("standardError")),
        )


@dataclass(frozen=True)
class TransferJob:
    """The server's own Slurm job behind a file operation. Its state proves nothing; its logs and the file
    system do.
    """

    job_id: str
    system: str
    working_dir: str
    output_log: str
    error_log: str

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> TransferJob:
        row = answer["transferJob"]
        logs = row.get("logs") or {}
        return cls(
            job_id=str(row["jobId"]),
            system=str(row.get("system", "")),
            working_dir=str(row.get("workingDirectory", "")),
            output_log=str(logs.get("outputLog", "")),
            error_log=str(logs.get("errorLog", "")),
        )


@dataclass(frozen=True)
class UploadTicket:
    """What `transfer/upload` hands out. The URLs are credentials: they are left out of ``repr``.

    :ivar part_urls: one presigned PUT URL per part, in order.
    :ivar complete_url: presigned POST URL of CompleteMultipartUpload.
    :ivar part_size: bytes per part (the last one may be smaller).
    """

    transfer: TransferJob
    part_urls: tuple[str, ...] = field(repr=False)
    complete_url: str = field(repr=False)
    part_size: int

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> UploadTicket:
        directives = answer.get("transferDirectives") or answer
        return cls(
            transfer=TransferJob.from_v2(answer),
            part_urls=tuple(_either(directives, "partsUploadUrls", "parts_upload_urls") or ()),
            complete_url=str(_either(directives, "completeUploadUrl", "complete_upload_url") or ""),
            part_size=int(_either(directives, "maxPartSize", "max_part_size") or 0),
        )


@dataclass(frozen=True)
class DownloadTicket:
    """What `transfer/download` hands out: a presigned GET URL, 404 until the job behind it is done."""

    transfer: TransferJob
    url: str = field(repr=False)

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> DownloadTicket:
        return cls(
            transfer=TransferJob.from_v2(answer),
            url=str(_either(answer.get("transferDirectives") or answer, "downloadUrl", "download_url") or ""),
        )


def _either(row: Mapping[str, Any], name: str, older: str) -> Any:
    """Return a value by the name it has, or by the one that older servers give it."""
    return row[name] if name in row else row.get(older)


@dataclass(frozen=True)
class RemoteFile:
    """One line of `ls -l`.

    :ivar name: bare name; relative path in a recursive listing; full path when a file itself was listed.
    :ivar file_type: ``-`` file, ``d`` directory, ``l`` link, and so on.
    """

    name: str
    file_type: str
    size: int | None = None
    user: str | None = None
    group: str | None = None
    permissions: str | None = None
    last_modified: str | None = None
    link_target: str | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> RemoteFile:
        return cls(
            name=str(row.get("name", "")),
            file_type=str(row.get("type", "")),
            size=_int(row.get("size")),
            user=_str(row.get("user")),
            group=_str(row.get("group")),
            permissions=_str(row.get("permissions")),
            last_modified=_str(row.get("lastModified")),
            link_target=_str(row.get("linkTarget")),
        )


@dataclass(frozen=True)
class FileStat:
    """`stat` of a path: ``mode`` as in ``st_mode``, size in bytes, times in seconds since the epoch."""

    mode: int
    size: int
    uid: int | None = None
    gid: int | None = None
    nlink: int | None = None
    inode: int | None = None
    device: int | None = None
    atime: int | None = None
    ctime: int | None = None
    mtime: int | None = None

    @property
    def is_dir(self) -> bool:
        return self.mode & 0o170000 == 0o040000

    @property
    def is_file(self) -> bool:
        return self.mode & 0o170000 == 0o100000

    @property
    def is_link(self) -> bool:
        return self.mode & 0o170000 == 0o120000

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> FileStat:
        return cls(
            mode=int(row["mode"]),
            size=int(row["size"]),
            uid=_int(row.get("uid")),
            gid=_int(row.get("gid")),
            nlink=_int(row.get("nlink")),
            inode=_int(row.get("ino")),
            device=_int(row.get("dev")),
            atime=_int(row.get("atime")),
            ctime=_int(row.get("ctime")),
            mtime=_int(row.get("mtime")),
        )


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
            scheduler=_str(scheduler.get("type")),
            scheduler_version=_str(scheduler.get("version")),
            file_systems=tuple(
                FileSystem(str(fs.get("path", "")), _str(fs.get("dataType")), bool(fs.get("defaultWorkDir")))
                for fs in row.get("fileSystems") or ()
            ),
            health=tuple(
                ServiceHealth(
                    service=str(each.get("serviceType", "")),
                    healthy=bool(each.get("healthy")),
                    message=_str(each.get("message")),
                    path=_str(each.get("path")),
                    last_checked=_str(each.get("lastChecked")),
                )
                for each in row.get("servicesHealth") or ()
            ),
            max_ops_file_size=_int(limit) or DEFAULT_MAX_OPS_FILE_SIZE,
            transfer_method=_str(transfer.get("serviceType")),
            max_part_size=_int((transfer.get("multipart") or {}).get("max_part_size")),
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
            cpus=_int(row.get("cpus")),
            allocated_cpus=_int(row.get("allocCpus")),
            idle_cpus=_int(row.get("idleCpus")),
            free_memory=_int(row.get("freeMemory")),
            partitions=_words(row.get("partitions")),
            features=",".join(features) if isinstance(features, list) else _str(features),
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
            cpus=_int(row.get("cpus")),
            nodes=_int(row.get("totalNodes")),
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
            nodes=_str(row.get("nodeList")),
            start_time=_int(row.get("startTime")),
            end_time=_int(row.get("endTime")),
            features=_str(row.get("features")),
            state=_str(row.get("state")),
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
            uid=_str(answer["user"].get("id")),
            group=_str((answer.get("group") or {}).get("name")),
            groups=tuple(str(each.get("name")) for each in answer.get("groups") or ()),
            accounts=tuple(str(each.get("name")) for each in accounts),
            default_account=next((str(each.get("name")) for each in accounts if each.get("default")), None),
        )


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value)


@dataclass(frozen=True)
class FormTicket:
    """What FirecREST v1 hands out for a staged upload:

    a form for one POST to the object store, file last. A credential.
    """

    task_id: str
    url: str = field(repr=False)
    fields: Mapping[str, str] = field(repr=False)
