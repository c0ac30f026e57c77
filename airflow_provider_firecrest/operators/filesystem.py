"""One operator for the small operations on files, each a call or two of the client's.

Knows which operation takes which arguments. Large work (copying, archiving) has operators of its own, in
``internal``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from ..hooks._task import DEFAULT_CONN_ID
from ._checksums import TakesChecksums

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ._fileops import FileOperator

OPERATIONS: dict[str, tuple[str, ...]] = {
    "checksum": (),
    "chmod": ("mode",),
    "chown": ("owner", "group"),
    "head": ("lines", "size", "skip_trailing"),
    "ls": ("show_hidden", "numeric_uid", "recursive", "dereference"),
    "mkdir": ("parents",),
    "rename": ("target_path",),
    "rm": (),
    "stat": ("dereference",),
    "symlink": ("link_path",),
    "tail": ("lines", "size", "skip_heading"),
    "view": ("size", "offset"),
}
"""The operations, and the arguments that each takes besides ``path``; they are the client's."""

_NUMBERS = ("lines", "size", "offset")
_TEXTS = ("group", "link_path", "mode", "owner", "target_path")
"""The arguments that are numbers and texts; the others are true or false. Templates make texts of numbers,
and numbers of texts."""

_LOOK_EVERY = 5.0
"""Seconds between two looks at the job of a rename, at most."""

_NEEDED = {"chmod": "mode", "rename": "target_path", "symlink": "link_path"}


class FirecrestFilesystemOperator(TakesChecksums, BaseOperator):
    """Does one small operation on the system's files, at once: within the server's five seconds.

    The result is a JSON dict: ``operation``, ``path``, ``system`` and ``value``: a dict for ``stat``,
    ``chmod``, ``chown``, ``mkdir``, ``symlink`` and ``rename``; a list of dicts for ``ls``; text for
    ``checksum`` (SHA-256), ``head``, ``tail`` and ``view``; None for ``rm``. ``checksum`` of a large file,
    and ``rename`` on FirecREST v2, which has no call for it, take a job, and the task waits for it in the
    worker; when the task is killed, or ``execution_timeout`` is over, the job is cancelled.

    :param operation: ``checksum``, ``chmod``, ``chown``, ``head``, ``ls``, ``mkdir``, ``rename``, ``rm``,
        ``stat``, ``symlink``, ``tail`` or ``view``.
    :param path: absolute path on the system; for ``symlink`` what the link points to.
    :param arguments: the operation's own: ``mode`` (chmod), ``owner`` and ``group`` (chown), ``lines`` or
        ``size`` (head, tail), ``parents`` (mkdir), ``target_path`` (rename), ``link_path`` (symlink) and
        more.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :raises AirflowFailException: the request was refused: no such file, no permission, a wrong argument.
    :raises AirflowException: it did not work this time.
    """

    template_fields: Sequence[str] = ("path", "arguments", "system", "firecrest_conn_id")
    ui_color = "#efe8d3"
    _renaming: FileOperator | None = None

    def __init__(
        self,
        *,
        operation: str,
        path: str,
        arguments: dict[str, Any] | None = None,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if operation not in OPERATIONS:
            raise ValueError(f"operation: {operation!r} is not one of {', '.join(OPERATIONS)}.")
        mode = arguments.get("mode") if isinstance(arguments, Mapping) else None
        if isinstance(mode, int):
            # 0o644 is 420, and chmod would take that for -r---w----.
            raise ValueError(f"arguments: mode: {mode} is a number; write it as text, such as '640'.")
        self.operation = operation
        self.path = path
        self.arguments = arguments
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Do it."""
        with self.firecrest() as client, self.checksums(context):
            arguments = self._checked(self.arguments or {})
            if self.operation == "rename":
                value: Any = self._rename(client, arguments["target_path"], context)
            else:
                value = self._value(client, arguments, context)
            system = self.system or client.system
            return {"operation": self.operation, "path": self.path, "system": system, "value": value}

    def on_kill(self) -> None:
        """Cancel the job that the task waits for, in 4 s: Airflow sends SIGKILL after 5."""
        super().on_kill()
        if self._renaming is not None:
            self._renaming.on_kill()

    def _rename(self, client: FirecrestClient, target: str, context: Context) -> Any:
        """Move it as FirecrestInternalMoveOperator does: on v2 by a job, which a retry must find."""
        from .internal import FirecrestInternalMoveOperator

        if client.api.generation == 2:
            self.log.info("FirecREST v2 has no call for this: it is done by a job, which may have to queue.")
        self._renaming = FirecrestInternalMoveOperator(
            task_id=self.task_id,
            source_path=self.path,
            target_path=target,
            system=self.system,
            firecrest_conn_id=self.firecrest_conn_id,
            execution_timeout=self.execution_timeout,
            poll_interval=_LOOK_EVERY,
            deferrable=False,
        )
        return self._renaming.perform(context)

    def _value(self, client: FirecrestClient, arguments: dict[str, Any], context: Context) -> Any:
        if self.operation == "checksum":
            from ..client.transfers.proof import remote_sha256

            size = client.stat(self.path, system=self.system).size
            return remote_sha256(client, self.path, size, self.system or str(client.system))
        if self.operation == "rm":
            return self._remove(client, context)
        if self.operation == "symlink":
            self._check_free(client, str(arguments["link_path"]))
        found = getattr(client, self.operation)(*self._positional(arguments), **arguments, system=self.system)
        if isinstance(found, str):
            # PostgreSQL stores no NUL in an XCom; what else is no text comes as U+FFFD from the server.
            return found.replace("\x00", "\ufffd")
        if isinstance(found, list):
            return [asdict(each) for each in found]
        return asdict(found) if is_dataclass(found) and not isinstance(found, type) else found

    def _remove(self, client: FirecrestClient, context: Context) -> None:
        from ..client.errors import NotFoundError
        from ..client.fileops.plan import checked_paths

        # The server itself removes whatever the account may remove.
        checked_paths(client, "rm", self.path, None, client.system_info(system=self.system))
        try:
            client.rm(self.path, system=self.system)
        except NotFoundError:
            # A first try that finds nothing fails for good. So an earlier one found it, and got no answer.
            if getattr(context["ti"], "try_number", 1) == 1:
                raise
            self.log.info("%s is not there any more: an earlier try of this task removed it.", self.path)

    def _check_free(self, client: FirecrestClient, link_path: str) -> None:
        """Refuse a link where something is: in a directory, the server would make it without a word."""
        from ..client.errors import ConflictError, NotFoundError

        try:
            client.stat(link_path, dereference=False, system=self.system)
        except NotFoundError:
            return
        raise ConflictError(f"link_path: {link_path} exists.")

    def _positional(self, arguments: dict[str, Any]) -> list[Any]:
        name = _NEEDED.get(self.operation)
        return [self.path] if name is None else [self.path, arguments.pop(name)]

    def _checked(self, arguments: Any) -> dict[str, Any]:
        from ..client.errors import InvalidRequestError

        if not isinstance(arguments, Mapping):
            raise InvalidRequestError(f"arguments: {arguments!r} is not a dict of names and values.")
        known = OPERATIONS[self.operation]
        unknown = sorted(str(name) for name in arguments if name not in known)
        if unknown:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise InvalidRequestError(f"arguments: {self.operation} {takes}, not {', '.join(unknown)}.")
        if self.operation == "chown" and not (arguments.get("owner") or arguments.get("group")):
            raise InvalidRequestError("arguments: chown needs owner or group.")
        needed = _NEEDED.get(self.operation)
        if needed is not None and arguments.get(needed) in (None, ""):
            raise InvalidRequestError(f"arguments: {self.operation} needs {needed}.")
        return {name: _coerced(name, value) for name, value in arguments.items() if value is not None}


def _coerced(name: str, value: Any) -> Any:
    """Return an argument as the type its call wants."""
    from ..client.errors import InvalidRequestError

    text = str(value).strip()
    if name in _TEXTS:
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return text
        raise InvalidRequestError(f"arguments: {name}: {value!r} is not a text.")
    if name in _NUMBERS:
        if not isinstance(value, bool) and re.fullmatch(r"-?[0-9]+", text):
            return int(text)
        raise InvalidRequestError(f"arguments: {name}: {value!r} is not a whole number.")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise InvalidRequestError(f"arguments: {name}: {value!r} is neither true nor false.")
