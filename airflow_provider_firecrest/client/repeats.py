"""What the repetition of a request finds done: by the request before it, whose answer was lost.

Flows, for both generations of the API. Knows what a call was to bring about; must not know how it is sent.
"""

from __future__ import annotations

from typing import Protocol

from .errors import AmbiguousError, FirecrestError, NotFoundError
from .flow import Flow, Request
from .models import FileStat, RemoteFile


class Looks(Protocol):
    """What it takes to see whether something is done."""

    def ls(
        self, path: str, *, show_hidden: bool = False, system: str | None = None
    ) -> Flow[list[RemoteFile]]: ...

    def stat(self, path: str, *, dereference: bool = True, system: str | None = None) -> Flow[FileStat]: ...


def removed(request: Request) -> Flow[None]:
    """Send a request that removes something; that it is gone when it is repeated is no failure.

    :param request: the request.
    :raises NotFoundError: it was not there in the first place.
    """
    try:
        yield request
    except NotFoundError as error:
        if not error.repeated:
            raise


def made(api: Looks, flow: Flow[RemoteFile], path: str, system: str | None) -> Flow[RemoteFile]:
    """Make a directory; when the answer is lost, an empty directory that is there is the one asked for.

    :param api: the flows of the connection's generation.
    :param flow: makes the directory.
    :param path: its path.
    :param system: system name; default: the connection's.
    :raises AmbiguousError: the answer is lost, and no empty directory is there (yet).
    """
    try:
        return (yield from flow)
    except AmbiguousError as lost:
        try:
            names = yield from api.ls(path, show_hidden=True, system=system)
            found = yield from api.stat(path, dereference=False, system=system)
        except FirecrestError:
            raise lost from None
        if names or not found.is_dir:
            raise
        return RemoteFile(path, "d")
