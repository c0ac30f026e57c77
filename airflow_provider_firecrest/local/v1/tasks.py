"""Asynchronous tasks: what every other v1 call answers with, and where its result appears later.

Knows: statuses, and the two views of a task that differ. Must not know: what tasks do.

The single view is the tasks service's memory, the list view its database. The list view keeps what the
single one hides (staging secrets) and does not hear of an invalidation.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

QUEUED, DONE, FAILED, INVALID = "100", "200", "400", "302"
AWAITING_FORM, FORM_READY, STAGED, COPYING_IN, COPIED_IN, COPY_IN_FAILED = (
    "110",
    "111",
    "112",
    "113",
    "114",
    "115",
)
COPYING_OUT, COPIED_OUT, COPY_OUT_FAILED = "116", "117", "118"

_DESCRIPTIONS = {
    QUEUED: "Queued",
    AWAITING_FORM: "Waiting for Form URL from Object Storage to be retrieved",
    FORM_READY: "Form URL from Object Storage received",
    STAGED: "Object Storage confirms that upload to Object Storage has finished",
    COPYING_IN: "Download from Object Storage to server has started",
    COPIED_IN: "Download from Object Storage to server has finished",
    COPY_IN_FAILED: "Download from Object Storage error",
    COPYING_OUT: "Started upload from filesystem to Object Storage",
    COPIED_OUT: "Upload from filesystem to Object Storage has finished succesfully",
    COPY_OUT_FAILED: "Upload from filesystem to Object Storage has finished with errors",
    DONE: "Finished successfully",
    INVALID: "Task not longer valid",
    FAILED: "Finished with errors",
}
# Keys of ``data.msg`` only the list view shows.
_SECRETS = ("action", "cert", "download_url")


class TaskFailed(Exception):
    """A task's work ends it with 400; the text is its data."""


@dataclass
class Task:
    """One task; ``listed`` is what the list view shows when that is something else."""

    id: str
    user: str
    service: str
    system: str
    created: str
    modified: str
    status: str
    data: Any
    listed: tuple[str, Any, str] | None = None

    def set(self, status: str, data: Any) -> None:
        """Go on to another status."""
        self.status, self.data, self.modified = status, data, _now()

    def invalidate(self) -> None:
        """Call it no longer valid, in one of the two views."""
        self.listed = self.listed or (self.status, self.data, self.modified)
        self.set(INVALID, "")

    def single(self) -> dict[str, Any]:
        """As ``/tasks/<id>`` shows it."""
        fields = self._fields(self.status, _without_secrets(self.data), self.modified)
        return {**fields, "task_url": f"/tasks/{self.id}"}

    def in_list(self) -> dict[str, Any]:
        """As ``/tasks`` shows it."""
        return self._fields(*(self.listed or (self.status, self.data, self.modified)))

    def _fields(self, status: str, data: Any, modified: str) -> dict[str, Any]:
        return {
            "created_at": self.created,
            "data": data,
            "description": _DESCRIPTIONS[status],
            "hash_id": self.id,
            "last_modify": modified,
            "service": self.service,
            "status": status,
            "system": self.system,
            "task_id": self.id,
            "updated_at": modified,
            "user": self.user,
        }


class TaskStore:
    """All tasks since the start of the server."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def create(
        self, user: str, service: str, system: str, *, status: str = QUEUED, data: Any = "Queued"
    ) -> Task:
        """A new task at ``status``."""
        now = _now()
        task = Task(secrets.token_hex(16), user, service, system, now, now, status, data)
        with self._lock:
            self._tasks[task.id] = task
        return task

    def get(self, task_id: str) -> Task | None:
        """The task of that id."""
        with self._lock:
            return self._tasks.get(task_id)

    def of_user(self, user: str) -> list[Task]:
        """Every task of a user, oldest first."""
        with self._lock:
            return [task for task in self._tasks.values() if task.user == user]


def _without_secrets(data: Any) -> Any:
    message = data.get("msg") if isinstance(data, dict) else None
    if not isinstance(message, dict):
        return data
    return {**data, "msg": {key: value for key, value in message.items() if key not in _SECRETS}}


def _now() -> str:
    # Without zone, as recorded: the server's own time.
    return datetime.now().isoformat(timespec="seconds")
