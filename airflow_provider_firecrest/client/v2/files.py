"""FirecREST v2, `/filesystem/{system}/ops`: direct calls, each a command on the login node with a limit of
five seconds.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from .. import paths
from ..errors import CommandTimeoutError, InvalidRequestError, NotFoundError, PermissionDeniedError
from ..flow import Flow, Kind, Request, Response, Upload
from ..models import FileStat, RemoteFile
from ..repeats import made, removed
from .base import output
from .status import Status

COMPRESSIONS = ("none", "bzip2", "gzip", "xz")

_ENDS_QUOTING = "['\x00]"
# The pattern stands in single quotes inside double ones: a `$` at its end or before a `)` is still a `$`.
_EXPANDED_PATTERN = r"['\"`\x00\n]|\$[\w({@*#?$!-]|\\[\\$]"


class Files(Status):
    """Flows over `/filesystem/{system}/ops`."""

    def _ops(self, call: str, system: str | None) -> str:
        return f"/filesystem/{self._system(system)}/ops/{call}"

    def _get(self, call: str, path: str, system: str | None, **params: Any) -> Request:
        return Request(
            "GET",
            self._ops(call, system),
            params={"path": paths.check(path, paths.OPS), **params},
            repeat_command_timeout=False,
        )

    def ls(
        self,
        path: str,
        *,
        show_hidden: bool = False,
        numeric_uid: bool = False,
        recursive: bool = False,
        dereference: bool = False,
        system: str | None = None,
    ) -> Flow[list[RemoteFile]]:
        """List a directory, or one file (its name is then the full path).

        :param path: absolute path.
        :param show_hidden: names that start with a dot, too.
        :param numeric_uid: numbers instead of user and group names.
        :param recursive: everything below; names are relative paths. One unreadable directory fails all of
            it.
        :param dereference: show what links point to. One broken link fails all of it.
        :param system: system name; default: the connection's.
        :returns: entries; names with non-ASCII characters may come as octal text (``\\303\\274``), as the
            server's locale is.
        :raises NotFoundError: no such path.
        :raises TooLargeError: tens of thousands of entries.
        :endpoint: GET /filesystem/{system}/ops/ls
        """
        flags = {
            "showHidden": show_hidden,
            "numericUid": numeric_uid,
            "recursive": recursive,
            "dereference": dereference,
        }
        request = self._get("ls", path, system, **{key: "true" for key, value in flags.items() if value})
        return (
            yield from self._ask(
                request, lambda body: [RemoteFile.from_v2(row) for row in output(body) or ()]
            )
        )

    def stat(self, path: str, *, dereference: bool = True, system: str | None = None) -> Flow[FileStat]:
        """Return size, mode and times of a path.

        :param path: absolute path.
        :param dereference: of what a link points to, not of the link.
        :param system: system name; default: the connection's.
        :raises NotFoundError: no such path.
        :endpoint: GET /filesystem/{system}/ops/stat
        """
        request = self._get("stat", path, system, dereference="true" if dereference else None)
        return (yield from self._ask(request, lambda body: FileStat.from_v2(output(body))))

    def exists(self, path: str, *, system: str | None = None) -> Flow[bool]:
        """Return whether a path is there (a broken link is not).

        :param path: absolute path.
        :param system: system name; default: the connection's.
        :endpoint: GET /filesystem/{system}/ops/stat
        """
        try:
            yield from self.stat(path, system=system)
        except NotFoundError:
            return False
        return True

    def default_working_dir(self, *, system: str | None = None) -> Flow[str | None]:
        """Return the user's own directory on the file system that the site marks as the one to work on.

        :param system: system name; default: the connection's.
        :returns: the path, or None when the site marks none or the directory is not there.
        :endpoint: GET /status/systems, GET /status/{system}/userinfo, GET /filesystem/{system}/ops/stat
        """
        mount = (yield from self.system_info(system=system)).default_work_dir
        if mount is None:
            return None
        path = paths.join(mount, (yield from self.userinfo(system=system)).name)
        try:
            found = yield from self.stat(path, system=system)
        except (NotFoundError, PermissionDeniedError):
            return None
        return path if found.is_dir else None

    def checksum(self, path: str, *, system: str | None = None) -> Flow[str]:
        """Return the SHA-256 of a file, in hex.

        :param path: absolute path without blanks.
        :param system: system name; default: the connection's.
        :raises CommandTimeoutError: the file is too large for five seconds.
        :raises InvalidRequestError: the name has a blank, which the server cannot handle.
        :endpoint: GET /filesystem/{system}/ops/checksum (sha256sum)
        """
        paths.check(path, paths.CHECKSUM)
        return (yield from self._ask(self._get("checksum", path, system), _sha256))

    def file_type(self, path: str, *, system: str | None = None) -> Flow[str]:
        """Return what `file` says about a path; for a missing one that is ``cannot open ...``.

        :param path: absolute path.
        :param system: system name; default: the connection's.
        :endpoint: GET /filesystem/{system}/ops/file
        """
        return (yield from self._ask(self._get("file", path, system), lambda body: str(output(body))))

    def head(
        self,
        path: str,
        *,
        lines: int | None = None,
        size: int | None = None,
        skip_trailing: bool = False,
        system: str | None = None,
    ) -> Flow[str]:
        """Return the beginning of a file; what is not UTF-8 is replaced.

        :param path: absolute path.
        :param lines: number of lines (default 10).
        :param size: number of bytes, instead of lines.
        :param skip_trailing: everything but the last ``lines`` or ``size``.
        :param system: system name; default: the connection's.
        :endpoint: GET /filesystem/{system}/ops/head
        """
        skip = "true" if skip_trailing else None
        request = self._get("head", path, system, **_portion(lines, size), skipTrailing=skip)
        return (yield from self._ask(request, lambda body: str(output(body)["content"])))

    def tail(
        self,
        path: str,
        *,
        lines: int | None = None,
        size: int | None = None,
        skip_heading: bool = False,
        system: str | None = None,
    ) -> Flow[str]:
        """Return the end of a file; what is not UTF-8 is replaced.

        :param path: absolute path.
        :param lines: number of lines (default 10).
        :param size: number of bytes, instead of lines.
        :param skip_heading: everything from line or byte number ``lines`` or ``size`` on.
        :param system: system name; default: the connection's.
        :endpoint: GET /filesystem/{system}/ops/tail
        """
        skip = "true" if skip_heading else None
        request = self._get("tail", path, system, **_portion(lines, size), skipHeading=skip)
        return (yield from self._ask(request, lambda body: str(output(body)["content"])))

    def view(
        self, path: str, *, size: int | None = None, offset: int = 0, system: str | None = None
    ) -> Flow[str]:
        """Return a piece of a file as text; what is not UTF-8 is replaced.

        :param path: absolute path.
        :param size: bytes; at most half of the server's `max_ops_file_size` on larger files.
        :param offset: bytes to skip.
        :param system: system name; default: the connection's.
        :endpoint: GET /filesystem/{system}/ops/view
        """
        if offset < 0 or (size is not None and size < 1):
            raise InvalidRequestError("size must be at least 1, and offset must not be negative.")
        request = self._get("view", path, system, size=size, offset=offset or None)
        return (yield from self._ask(request, lambda body: str(output(body) or "")))

    def download(self, path: str, *, system: str | None = None) -> Flow[bytes]:
        """Return a small file's bytes.

        :param path: absolute path.
        :param system: system name; default: the connection's.
        :raises TooLargeError: more than ``limits.ops_download_limit`` bytes (3.9 MB by default).
        :endpoint: GET /filesystem/{system}/ops/download
        """
        request = self._get("download", path, system)
        response: Response = yield Request(
            "GET", request.path, params=request.params, binary=True, repeat_command_timeout=False
        )
        return response.content

    def upload(
        self, directory: str, filename: str, source: bytes | Path, *, system: str | None = None
    ) -> Flow[None]:
        """Write a small file, replacing what is there without a word.

        :param directory: absolute path of an existing directory.
        :param filename: name in it.
        :param source: the bytes, or a local file.
        :param system: system name; default: the connection's.
        :raises TooLargeError: more than the server's `max_ops_file_size`.
        :raises NotFoundError: no such directory.
        :endpoint: POST /filesystem/{system}/ops/upload. An empty file is answered with 408 after the server's
            limit although
            it is there; that is looked at here.
        """
        if not filename or "/" in filename or filename in (".", ".."):
            raise InvalidRequestError(f"filename: {filename!r} must be a bare name.")
        target = paths.check(paths.join(directory, filename), paths.OPS)
        paths.check(target, paths.OPS_UPLOAD_NAME)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size

        def reader() -> IO[bytes]:
            return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")

        request = Request(
            "POST",
            self._ops("upload", system),
            Kind.IDEMPOTENT,
            params={"path": directory},
            upload=Upload("file", filename, reader),
            repeat_command_timeout=False,
        )
        try:
            yield request
        except CommandTimeoutError:
            if size:
                raise
            found = yield from self.stat(target, system=system)
            if found.size or not found.is_file:
                raise

    def mkdir(self, path: str, *, parents: bool = False, system: str | None = None) -> Flow[RemoteFile]:
        """Make a directory.

        :param path: absolute path.
        :param parents: make missing parents too, and accept that it exists.
        :param system: system name; default: the connection's.
        :raises ConflictError: something of that name is there.
        :raises AmbiguousError: the answer was lost, and it does not show whether it is made.
        :endpoint: POST /filesystem/{system}/ops/mkdir
        """
        body = {"path": paths.check(path, paths.OPS), "parent": parents}
        kind = Kind.IDEMPOTENT if parents else Kind.CREATE
        return (yield from made(self, self._change("POST", "mkdir", body, kind, system), path, system))

    def rm(self, path: str, *, system: str | None = None) -> Flow[None]:
        """Remove a file or a whole directory.

        :param path: absolute path.
        :param system: system name; default: the connection's.
        :raises NotFoundError: it is not there.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_rm` does it as a job.
        :endpoint: DELETE /filesystem/{system}/ops/rm (rm -r)
        """
        path = paths.check(path, paths.OPS)
        yield from removed(
            Request(
                "DELETE",
                self._ops("rm", system),
                Kind.IDEMPOTENT,
                params={"path": path},
                repeat_command_timeout=False,
            )
        )

    def chmod(self, path: str, mode: str, *, system: str | None = None) -> Flow[RemoteFile]:
        """Change the mode of a path.

        :param path: absolute path.
        :param mode: as `chmod` takes it: ``640``, ``u+x``.
        :param system: system name; default: the connection's.
        :endpoint: PUT /filesystem/{system}/ops/chmod
        """
        paths.check_argument(paths.check_mode(mode), _ENDS_QUOTING, field="mode")
        body = {"path": paths.check(path, paths.OPS), "mode": mode}
        return (yield from self._change("PUT", "chmod", body, Kind.IDEMPOTENT, system))

    def chown(
        self, path: str, *, owner: str = "", group: str = "", system: str | None = None
    ) -> Flow[RemoteFile]:
        """Change owner or group of a path.

        :param path: absolute path.
        :param owner: user name; empty leaves it.
        :param group: group name; empty leaves it.
        :param system: system name; default: the connection's.
        :endpoint: PUT /filesystem/{system}/ops/chown
        """
        paths.check_argument(owner, _ENDS_QUOTING, field="owner")
        paths.check_argument(group, _ENDS_QUOTING, field="group")
        body = {"path": paths.check(path, paths.OPS), "owner": owner, "group": group}
        return (yield from self._change("PUT", "chown", body, Kind.IDEMPOTENT, system))

    def symlink(self, path: str, link_path: str, *, system: str | None = None) -> Flow[RemoteFile]:
        """Make a symbolic link.

        :param path: what it points to; need not exist.
        :param link_path: the link.
        :param system: system name; default: the connection's.
        :raises ConflictError: ``link_path`` exists; in a directory the link is made inside, as `ln` does it.
        :endpoint: POST /filesystem/{system}/ops/symlink
        """
        body = {
            "path": paths.check(path, paths.OPS),
            "linkPath": paths.check(link_path, paths.OPS, field="link_path"),
        }
        return (yield from self._change("POST", "symlink", body, Kind.CREATE, system))

    def compress(
        self,
        path: str,
        target_path: str,
        *,
        match_pattern: str | None = None,
        dereference: bool = False,
        compression: str = "gzip",
        system: str | None = None,
    ) -> Flow[None]:
        """Make a tar archive of a path. A missing source leaves an empty archive behind, besides the error.

        :param path: absolute path of a file or directory.
        :param target_path: the archive; replaced when it exists.
        :param match_pattern: only names that match this regular expression.
        :param dereference: archive what links point to.
        :param compression: ``none``, ``bzip2``, ``gzip`` or ``xz``.
        :param system: system name; default: the connection's.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_compress` does it as a job.
        :endpoint: POST /filesystem/{system}/ops/compress (tar)
        """
        body = archive_body(path, target_path, paths.OPS, compression)
        if not match_pattern:
            paths.check_archived(path)
        body["dereference"] = dereference
        if match_pattern:
            paths.check(path, paths.PATTERN_SOURCE)
            paths.check(target_path, paths.PATTERN_TARGET, field="target_path")
            paths.check_argument(match_pattern, _EXPANDED_PATTERN, field="match_pattern")
            body["matchPattern"] = match_pattern
        yield self._command("POST", "compress", body, Kind.IDEMPOTENT, system)

    def extract(
        self, path: str, target_path: str, *, compression: str = "gzip", system: str | None = None
    ) -> Flow[None]:
        """Unpack a tar archive.

        :param path: the archive.
        :param target_path: an existing directory.
        :param compression: ``none``, ``bzip2``, ``gzip`` or ``xz``.
        :param system: system name; default: the connection's.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_extract` does it as a job.
        :endpoint: POST /filesystem/{system}/ops/extract (tar)
        """
        body = archive_body(path, target_path, paths.OPS, compression)
        yield self._command("POST", "extract", body, Kind.IDEMPOTENT, system)

    def _command(
        self, method: str, call: str, body: Mapping[str, Any], kind: Kind, system: str | None
    ) -> Request:
        return Request(method, self._ops(call, system), kind, json=body, repeat_command_timeout=False)

    def _change(
        self, method: str, call: str, body: Mapping[str, Any], kind: Kind, system: str | None
    ) -> Flow[RemoteFile]:
        request = self._command(method, call, body, kind, system)
        return (yield from self._ask(request, lambda answer: RemoteFile.from_v2(output(answer))))


def archive_body(path: str, target_path: str, rule: paths.Rule, compression: str) -> dict[str, Any]:
    """Return the body that compress and extract share."""
    if compression not in COMPRESSIONS:
        raise InvalidRequestError(f"compression: {compression!r} is not one of {', '.join(COMPRESSIONS)}.")
    return {
        "path": paths.check(path, rule),
        "targetPath": paths.check(target_path, rule, field="target_path"),
        "compression": compression,
    }


def _portion(lines: int | None, size: int | None) -> dict[str, int | None]:
    if lines is not None and size is not None:
        raise InvalidRequestError("Give either lines or size.")
    for name, value in (("lines", lines), ("size", size)):
        if value is not None and value < 1:
            raise InvalidRequestError(f"{name}: must be at least 1.")
    return {"lines": lines, "bytes": size}


def _sha256(body: Mapping[str, Any]) -> str:
    # sha256sum marks escaped names (backslash, newline) by a backslash in front of the digest.
    digest = str(output(body)["checksum"]).lstrip("\\").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("not a SHA-256")
    return digest
