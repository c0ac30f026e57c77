"""Everything a client needs to know about one FirecREST, checked once.

Knows no Airflow connection (the hook translates those) and sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from . import limits
from .auth import Auth, check_url
from .errors import ConfigurationError

API_VERSIONS = ("auto", "1", "2")


@dataclass(frozen=True)
class Settings:
    """Settings of one connection.

    :param base_url: FirecREST's base URL, for example ``https://api.example.org/firecrest/v2``.
    :param auth: how to log in.
    :param system: system used by calls that name none.
    :param account: Slurm account used by jobs and transfer jobs that name none.
    :param working_dir: working directory used by jobs that name none.
    :param api_version: ``"1"``, ``"2"``, or ``"auto"`` to take what the server speaks.
    :param timeout: seconds to wait for one answer.
    :param verify: check TLS certificates; a path names the CA bundle to check them with.
    :param max_requests_per_second: requests per second, over all clients of the connection in this process.
    :param max_concurrent_requests: requests under way at once, per client.
    :param retry_budget: seconds during which a call that may be repeated is repeated.
    :param installation: name that tells this caller's jobs apart from those that another one submits under
        the same account for tasks of the same names.
    :param max_script_size: bytes of a batch script that the site's Slurm takes; default: Slurm's own, 4 MiB.
    :raises ConfigurationError: a field is missing or wrong; the message names it.
    """

    base_url: str
    auth: Auth
    system: str | None = None
    account: str | None = None
    working_dir: str | None = None
    api_version: str = "auto"
    timeout: float = 30.0
    verify: bool | str = True
    max_requests_per_second: float = 10.0
    max_concurrent_requests: int = 8
    retry_budget: float = 120.0
    installation: str | None = None
    max_script_size: int = limits.MAX_SCRIPT_SIZE

    def __post_init__(self) -> None:
        check_url(self.base_url, field="host", example="https://api.example.org/firecrest/v2")
        parts = urlsplit(self.base_url)
        if parts.query or parts.fragment or parts.username:
            raise ConfigurationError("host: the URL must hold neither a user name nor a query.")
        if self.api_version not in API_VERSIONS:
            raise ConfigurationError(
                f"api_version: {self.api_version!r} is not one of {', '.join(API_VERSIONS)}."
            )
        for name in ("timeout", "max_requests_per_second", "max_concurrent_requests", "max_script_size"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name}: must be greater than 0.")
        if self.working_dir and not self.working_dir.startswith("/"):
            raise ConfigurationError(f"working_dir: {self.working_dir!r} is not an absolute path.")
        if not self.retry_budget >= 0:
            raise ConfigurationError("retry_budget: must not be negative.")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    def with_changes(self, **changes: object) -> Settings:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]
