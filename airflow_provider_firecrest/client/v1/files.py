"""FirecREST v1, `/utilities`: direct calls, each a command on the login node with a limit of five seconds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

from .. import paths
from ..errors import InvalidRequestError, NotFoundError, TooLargeError
from ..flow import Flow, Kind, Request, Response, Upload
from ..models import FileStat, RemoteFile
from ..repeats import made, removed
from .status import FORM_OVERHEAD, Status

_SUFFIXES = {"gzip": (".tar.gz", ".tgz"), "bzip2": (".tar.bz2",), "xz": (".tar.xz",), "none": (".tar",)}


class Files(Status):
    """Flows over `/utilities`."""

    def _path(self, path: str, field: str = "path") -> str:
        return paths.check(path, self.rules.ops, field=field)

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
        :param recursive: everything below.
        :param dereference: show what links point to.
        :param system: machine name; default: the connection's.
        :endpoint: GET /utilities/ls
        """
        flags = {
            "showhidden": show_hidden,
            "numericUid": numeric_uid,
            "recursive": recursive,
            "dereference": dereference,
        }
        request = self._get(
            "/utilities/ls",
            system,
            targetPath=self._path(path),
            **{key: "true" for key, value in flags.items() if value},
        )
        return (yield from self._ask(request, lambda body: [_entry(row) for row in body["output"] or ()]))

    def stat(self, path: str, *, dereference: bool = True, system: str | None = None) -> Flow[FileStat]:
        """Return size, mode and times of a path.

        :param path: absolute path.
        :param dereference: of what a link points to, not of the link.
        :param system: machine name; default: the connection's.
        :raises NotFoundError: no such path.
        :endpoint: GET /utilities/stat
        """
        request = self._get(
            "/utilities/stat",
            system,
            targetPath=self._path(path),
            dereference="true" if dereference else None,
        )
        return (yield from self._ask(request, lambda body: FileStat.from_v2(body["output"])))

    def exists(self, path: str, *, system: str | None = None) -> Flow[bool]:
        """Return whether a path is there (a broken link is not).

        :param path: absolute path.
        :param system: machine name; default: the connection's.
        :endpoint: GET /utilities/stat
        """
        try:
            yield from self.stat(path, system=system)
        except NotFoundError:
            return False
        return True

    def default_working_dir(self, *, system: str | None = None) -> Flow[str | None]:
        """Return None: v1 names no file system to work on.

        :param system: machine name; default: the connection's.
        """
        yield from ()
        return None

    def checksum(self, path: str, *, system: str | None = None) -> Flow[str]:
        """Return the SHA-256 of a file, in hex.

        :param path: absolute path.
        :param system: machine name; default: the connection's.
        :raises CommandTimeoutError: the file is too large for five seconds.
        :endpoint: GET /utilities/checksum (sha256sum)
        """
        request = self._get("/utilities/checksum", system, targetPath=self._path(path))
        return (yield from self._ask(request, _sha256))

    def file_type(self, path: str, *, system: str | None = None) -> Flow[str]:
        """Return what `file` says about a path.

        :param path: absolute path.
        :param system: machine name; default: the connection's.
        :endpoint: GET /utilities/file
        """
        request = self._get("/utilities/file", system, targetPath=self._path(path))
        return (yield from self._ask(request, lambda body: str(body["output"])))

    def head(
        self,
        path: str,
        *,
        lines: int | None = None,
        size: int | None = None,
        skip_trailing: bool = False,
        system: str | None = None,
    ) -> Flow[str]:
        """Return the beginning of a text file.

        :param path: absolute path.
        :param lines: number of lines (default 10).
        :param size: number of bytes, instead of lines.
        :param skip_trailing: everything but the last ``lines`` or ``size``.
        :param system: machine name; default: the connection's.
        :endpoint: GET /utilities/head
        """
        skip = {"skip_ending": "true"} if skip_trailing else {}
        return (yield from self._portion("head", path, lines, size, skip, system))

    def tail(
        self,
        path: str,
        *,
        lines: int | None = None,
        size: int | None = None,
        skip_heading: bool = False,
        system: str | None = None,
    ) -> Flow[str]:
        """Return the end of a text file.

        :param path: absolute path.
        :param lines: number of lines (default 10).
        :param size: number of bytes, instead of lines.
        :param skip_heading: everything from line or byte number ``lines`` or ``size`` on.
        :param system: machine name; default: the connection's.
        :endpoint: GET /utilities/tail
        """
        skip = {"skip_beginning": "true"} if skip_heading else {}
        return (yield from self._portion("tail", path, lines, size, skip, system))

    def _portion(
        self,
        call: str,
        path: str,
        lines: int | None,
        size: int | None,
        skip: dict[str, str],
        system: str | None,
    ) -> Flow[str]:
        if lines is not None and size is not None:
            raise InvalidRequestError("Give either lines or size.")
        for name, value in (("lines", lines), ("size", size)):
            if value is not None and value < 1:
                raise InvalidRequestError(f"{name}: must be at least 1.")
        request = self._get(
            f"/utilities/{call}", system, targetPath=self._path(path), lines=lines, bytes=size, **skip
        )
        return (yield from self._ask(request, lambda body: str(body["output"])))

    def view(
        self, path: str, *, size: int | None = None, offset: int = 0, system: str | None = None
    ) -> Flow[str]:
        """Return a piece of a file as text. v1's own `view` returns ten lines whatever one asks, so the
        file is fetched.

        :param path: absolute path.
        :param size: bytes; None for all.
        :param offset: bytes to skip.
        :param system: machine name; default: the connection's.
        :raises TooLargeError: the file is larger than the server's limit.
        :endpoint: GET /utilities/download
        """
        if offset < 0 or (size is not None and size < 0):
            raise InvalidRequestError("size and offset must not be negative.")
        content = yield from self.download(path, system=system)
        piece = content[offset:] if size is None else content[offset : offset + size]
        return piece.decode(errors="replace")

    def download(self, path: str, *, system: str | None = None) -> Flow[bytes]:
        """Return a small file's bytes.

        :param path: absolute path.
        :param system: machine name; default: the connection's.
        :raises TooLargeError: more than the server's `UTILITIES_MAX_FILE_SIZE`.
        :endpoint: GET /utilities/download
        """
        request = self._get("/utilities/download", system, sourcePath=self._path(path))
        response: Response = yield request
        return response.content

    def upload(
        self, directory: str, filename: str, source: bytes | Path, *, system: str | None = None
    ) -> Flow[None]:
        """Write a small file, replacing what is there without a word.

        :param directory: absolute path of an existing directory.
        :param filename: name in it.
        :param source: the bytes, or a local file.
        :param system: machine name; default: the connection's.
        :raises TooLargeError: more than the server's limit; looked up before anything is sent, because a
            proxy in front answers that with 502 at times.
        :raises NotFoundError: no such directory.
        :endpoint: GET /status/parameters, POST /utilities/upload
        """
        if not filename or "/" in filename or filename in (".", ".."):
            raise InvalidRequestError(f"filename: {filename!r} must be a bare name.")
        self._path(paths.join(directory, filename))
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        parameters = yield from self.parameters()
        limit = int(float(parameters.get("UTILITIES_MAX_FILE_SIZE") or 5) * 1024 * 1024)
        if size > limit - FORM_OVERHEAD:
            raise TooLargeError(f"{size} bytes; the server takes less than {limit} directly.")

        def reader() -> IO[bytes]:
            return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")

        yield Request(
            "POST",
            "/utilities/upload",
            Kind.IDEMPOTENT,
            form={"targetPath": directory},
            headers=self._machine(system),
            upload=Upload("file", filename, reader),
            repeat_command_timeout=False,
        )

    def mkdir(self, path: str, *, parents: bool = False, system: str | None = None) -> Flow[RemoteFile]:
        """Make a directory.

        :param path: absolute path.
        :param parents: make missing parents too, and accept that it exists.
        :param system: machine name; default: the connection's.
        :raises ConflictError: something of that name is there.
        :raises AmbiguousError: the answer was lost, and it does not show whether it is made.
        :endpoint: POST /utilities/mkdir
        """
        form = {"targetPath": self._path(path), "p": "true" if parents else None}
        kind = Kind.IDEMPOTENT if parents else Kind.CREATE
        return (yield from made(self, self._make(path, form, kind, system), path, system))

    def _make(self, path: str, form: dict[str, Any], kind: Kind, system: str | None) -> Flow[RemoteFile]:
        yield self._send("POST", "/utilities/mkdir", system, kind, form)
        return RemoteFile(path, "d")

    def rm(self, path: str, *, system: str | None = None) -> Flow[None]:
        """Remove a file or a whole directory.

        :param path: absolute path.
        :param system: machine name; default: the connection's.
        :raises NotFoundError: it is not there.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_rm` does it as a job.
        :endpoint: DELETE /utilities/rm
        """
        form = {"targetPath": self._path(path)}
        yield from removed(self._send("DELETE", "/utilities/rm", system, Kind.IDEMPOTENT, form))

    def chmod(self, path: str, mode: str, *, system: str | None = None) -> Flow[RemoteFile]:
        """Change the mode of a path.

        :param path: absolute path.
        :param mode: as `chmod` takes it: ``640``, ``u+x``.
        :param system: machine name; default: the connection's.
        :endpoint: PUT /utilities/chmod
        """
        form = {"targetPath": self._path(path), "mode": paths.check_mode(mode)}
        yield self._send("PUT", "/utilities/chmod", system, Kind.IDEMPOTENT, form)
        return RemoteFile(path, "")

    def chown(
        self, path: str, *, owner: str = "", group: str = "", system: str | None = None
    ) -> Flow[RemoteFile]:
        """Change owner or group of a path.

        :param path: absolute path.
        :param owner: user name; empty leaves it.
        :param group: group name; empty leaves it.
        :param system: machine name; default: the connection's.
        :endpoint: PUT /utilities/chown
        """
        form = {"targetPath": self._path(path), "owner": owner or None, "group": group or None}
        yield self._send("PUT", "/utilities/chown", system, Kind.IDEMPOTENT, form)
        return RemoteFile(path, "", user=owner or None, group=group or None)

    def symlink(self, path: str, link_path: str, *, system: str | None = None) -> Flow[RemoteFile]:
        """Make a symbolic link.

        :param path: what it points to.
        :param link_path: the link.
        :param system: machine name; default: the connection's.
        :raises ConflictError: ``link_path`` exists; in a directory the link is made inside, as `ln` does it.
        :endpoint: POST /utilities/symlink
        """
        form = {"targetPath": self._path(path), "linkPath": self._path(link_path, "link_path")}
        yield self._send("POST", "/utilities/symlink", system, Kind.CREATE, form)
        return RemoteFile(link_path, "l", link_target=path)

    def rename(self, path: str, target_path: str, *, system: str | None = None) -> Flow[None]:
        """Rename or move a path, at once.

        :param path: absolute path.
        :param target_path: where to; a file or a link that is there is replaced in one step, a directory, or
            what a link to one leads to, is entered.
        :param system: machine name; default: the connection's.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_mv` does it as a job.
        :endpoint: PUT /utilities/rename (mv --force)
        """
        form = {"sourcePath": self._path(path), "targetPath": self._path(target_path, "target_path")}
        yield self._send("PUT", "/utilities/rename", system, Kind.CREATE, form)

    def copy(self, path: str, target_path: str, *, system: str | None = None) -> Flow[None]:
        """Copy a path, at once.

        :param path: absolute path.
        :param target_path: where to; a directory that exists is entered.
        :param system: machine name; default: the connection's.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_cp` does it as a job.
        :endpoint: POST /utilities/copy (cp -r)
        """
        form = {"sourcePath": self._path(path), "targetPath": self._path(target_path, "target_path")}
        yield self._send("POST", "/utilities/copy", system, Kind.CREATE, form)

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
        """Make a gzipped tar archive of a path. A failure leaves a part of it behind.

        :param path: absolute path of a file or directory.
        :param target_path: the archive.
        :param match_pattern: v2 only.
        :param dereference: archive what links point to.
        :param compression: ``gzip``; v1 has no other.
        :param system: machine name; default: the connection's.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_compress` does it as a job.
        :endpoint: POST /utilities/compress (tar)
        """
        form = self._archive(path, target_path, match_pattern, compression)
        form["dereference"] = "true" if dereference else None
        yield self._send("POST", "/utilities/compress", system, Kind.IDEMPOTENT, form)

    def extract(
        self, path: str, target_path: str, *, compression: str = "gzip", system: str | None = None
    ) -> Flow[None]:
        """Unpack an archive; v1 tells its kind by the name's ending.

        :param path: the archive.
        :param target_path: an existing directory.
        :param compression: ``none``, ``bzip2``, ``gzip`` or ``xz``; must agree with the ending.
        :param system: machine name; default: the connection's.
        :raises CommandTimeoutError: more than five seconds' work; `transfer_extract` does it as a job.
        :endpoint: POST /utilities/extract (tar)
        """
        form = self._extraction(path, target_path, compression)
        yield self._send("POST", "/utilities/extract", system, Kind.IDEMPOTENT, form)

    def _archive(
        self, path: str, target_path: str, match_pattern: str | None, compression: str
    ) -> dict[str, Any]:
        if match_pattern or compression != "gzip":
            raise InvalidRequestError(
                "FirecREST v1 makes gzipped archives of everything; no pattern, no other compression."
            )
        return {"sourcePath": self._path(path), "targetPath": self._path(target_path, "target_path")}

    def _extraction(self, path: str, target_path: str, compression: str) -> dict[str, Any]:
        endings = _SUFFIXES.get(compression)
        if endings is None:
            raise InvalidRequestError(f"compression: {compression!r} is not one of {', '.join(_SUFFIXES)}.")
        if not path.endswith(endings):
            raise InvalidRequestError(
                f"path: FirecREST v1 tells {compression} by the ending {endings[0]}; {path!r} has another."
            )
        return {"sourcePath": self._path(path), "targetPath": self._path(target_path, "target_path")}


def _entry(row: dict[str, Any]) -> RemoteFile:
    return RemoteFile.from_v2(
        {**row, "lastModified": row.get("last_modified"), "linkTarget": row.get("link_target") or None}
    )


def _sha256(body: dict[str, Any]) -> str:
    digest = str(body["output"]).lstrip("\\").lower()
    if len(digest) != 64:
        raise ValueError("not a SHA-256")
    return digest
