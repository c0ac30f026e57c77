"""FirecREST v1's tasks: their statuses, and which of them are final."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUCCEEDED = frozenset({"200", "114", "117"})
FAILED = frozenset({"118", "400"})
FINAL = SUCCEEDED | FAILED
"""115 is not among them: the server tries again at its next interval, and 114 or 400 follows."""

MEANINGS = {
    "100": "queued",
    "101": "in progress",
    "110": "waiting for an upload form from the object store",
    "111": "the upload form is there; waiting for the file",
    "112": "the file is in the object store",
    "113": "copying the file to the system",
    "114": "the file is on the system",
    "115": "copying the file to the system failed; the server tries again",
    "116": "copying the file to the object store",
    "117": "the file is in the object store, ready for download",
    "118": "copying the file to the object store failed",
    "200": "done",
    "302": "the download URL was invalidated",
    "400": "failed",
}


@dataclass(frozen=True)
class Task:
    """One task.

    :ivar status: FirecREST's number, as text.
    :ivar data: what belongs to the status: text, dict or list. It can hold upload forms and URLs, which are
        credentials, so it is left out of ``repr``.
    """

    task_id: str
    status: str
    data: Any = field(default=None, repr=False)
    description: str | None = None
    service: str | None = None
    system: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def succeeded(self) -> bool:
        return self.status in SUCCEEDED

    @property
    def meaning(self) -> str:
        """What the status says, in words."""
        return MEANINGS.get(self.status, self.description or "unknown status")

    @property
    def reason(self) -> str | None:
        """The server's words about a failure, or None. Never the data as a whole: they can hold URLs."""
        words = self.data
        if isinstance(words, dict):
            words = words.get("error") or words.get("msg")
        return words.strip() if isinstance(words, str) and self.status in FAILED else None

    @classmethod
    def from_v1(cls, row: Mapping[str, Any]) -> Task:
        return cls(
            task_id=str(row.get("task_id") or row.get("hash_id") or ""),
            status=str(row["status"]),
            data=row.get("data"),
            description=row.get("description"),
            service=row.get("service"),
            system=row.get("system"),
        )
