"""Every setting of the local server and the numbers the recorded servers were configured with.

Knows: constants. Must not know: how any of them is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class SystemConfig:
    """One system as ``/status/systems`` lists it; all share one scheduler and one file tree.

    Args:
        name: name in URLs, lower case.
        account_required: the site's transfer directives contain an account, so requests must name one.
    """

    name: str
    account_required: bool = False


@dataclass(frozen=True)
class FileSystem:
    """One published file system; ``path`` is a real absolute path of this machine."""

    path: str
    data_type: str
    default_work_dir: bool = False


@dataclass(frozen=True)
class LocalConfig:
    """Settings of one local FirecREST.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        root: directory that holds the file systems; None makes a temporary one and removes it at the end.
        cpus: CPUs of the pretended cluster; jobs queue when they are taken.
        token_ttl: life of an access token in seconds. Tokens are refused under 30 s of remaining life.
        ingress_interval: seconds between two looks of an upload job for its object (real servers: 60).
        ops_timeout: limit of every file system command in seconds.
        max_part_size: size of a part of a multipart transfer in bytes.
        max_ops_file_size: limit of the small-file calls in bytes.
        url_ttl: life of a presigned URL in seconds.
        client_id: client of the token endpoint.
        client_secret: its secret; None makes a random one.
        transfer_time_limit: time limit of transfer jobs in seconds.
        second_system: name of a further system whose transfers need an account; empty for none.
        default_time_limit: time limit in seconds of a job that asks for none.
        min_job_age: seconds the scheduler remembers a finished job for the ``metadata`` call.
        v1_polling_interval: seconds between two looks of FirecREST v1 for a staged file (real servers: 60).
        v1_acct_lag: seconds until accounting shows a new job on FirecREST v1 (real servers: 1 to 2.3).
        v1_account_from_group: charge v1 transfer jobs that name no account to the user's unix group, as some
            sites do; it is no account here, so such jobs are refused.
    """

    host: str = "127.0.0.1"
    port: int = 0
    root: Path | None = None
    cpus: int = 2
    token_ttl: int = 300
    ingress_interval: float = 1.0
    ops_timeout: float = 5.0
    max_part_size: int = 8 * MIB
    max_ops_file_size: int = 5 * MIB
    url_ttl: int = 604_800
    client_id: str = "firecrest-client"
    client_secret: str | None = None
    second_system: str = ""
    default_time_limit: int = 3600
    min_job_age: float = 300.0
    user: str = "fireuser"
    group: str = "fireuser"
    uid: int = 2001
    other_user: str = "otheruser"
    other_uid: int = 2002
    shared_group: str = "project"
    accounts: tuple[str, ...] = ("project", "project2")
    transfer_time_limit: int = 900
    v1_polling_interval: float = 1.0
    v1_acct_lag: float = 0.3
    v1_account_from_group: bool = False
    known_users: tuple[str, ...] = field(default=("fireuser", "otheruser"))

    @property
    def systems(self) -> tuple[SystemConfig, ...]:
        """The systems this server publishes, the default one first."""
        first = SystemConfig("cluster")
        if not self.second_system:
            return (first,)
        return (first, SystemConfig(self.second_system, account_required=True))

    @property
    def transfer_directives(self) -> tuple[str, ...]:
        """The site's ``#SBATCH`` lines for transfer jobs."""
        hours, rest = divmod(self.transfer_time_limit, 3600)
        limit = f"0-{hours:02}:{rest // 60:02}:{rest % 60:02}"
        return ("#SBATCH --nodes=1", f"#SBATCH --time={limit}", "#SBATCH --partition=xfer")

    def system(self, name: str) -> SystemConfig | None:
        """The system of that name, or None."""
        return next((system for system in self.systems if system.name == name), None)
