"""Which path each kind of call can carry.

FirecREST v2 passes paths through a shell (direct calls) or into an HTML-escaping script template (transfer
jobs). A path that a
call cannot carry is refused here with a clear error; it is never sent as it is. Every rule was measured on a
real server.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from .errors import InvalidRequestError


@dataclass(frozen=True)
class Rule:
    """What one kind of call cannot carry."""

    call: str
    forbidden: re.Pattern[str]
    reason: str


_CONTROL = "\x00-\x1f\x7f"

OPS = Rule(
    "FirecREST's direct file calls",
    re.compile("['\x00]"),
    "it ends the server's own quoting",
)
OPS_UPLOAD_NAME = Rule(
    "a direct upload",
    re.compile(f"['\"{_CONTROL}]"),
    "the server would store the file under another name",
)
CHECKSUM = Rule(
    "the checksum call",
    re.compile("['\x00\\s]"),
    "the server cannot read its own tool's answer for such a name",
)
FILE_JOB = Rule(
    "a file job (cp, mv, rm, compress, extract)",
    re.compile("[&<>\"'\x00]"),
    "the server replaces it by an HTML entity and works on another file",
)
# With a pattern the whole command stands in the double quotes of a `bash -c`, its directory without quotes.
PATTERN_SOURCE = Rule(
    "a direct compress with match_pattern",
    re.compile("[^A-Za-z0-9._+=@%,:/\u0080-\U0010ffff-]"),
    "the server does not quote it",
)
PATTERN_TARGET = Rule(
    "a direct compress with match_pattern",
    re.compile(f"['\"$`\\\\{_CONTROL}]"),
    "the server's shell would interpret it",
)
STAGED_UPLOAD = Rule(
    "a staged upload",
    re.compile(f"[&<>\"'$`{_CONTROL}]"),
    "the server's job would execute it or write to another file",
)
STAGED_DOWNLOAD = Rule(
    "a staged download",
    re.compile("[^A-Za-z0-9._+=@%,:/*#\u0080-\U0010ffff-]"),
    "the server's job does not quote the path",
)


_V1_FORBIDDEN = f"<>|;\"'&\\\\()`{_CONTROL}"
_V1_UTILITIES = Rule(
    "FirecREST v1",
    re.compile(f"[{_V1_FORBIDDEN}]"),
    "the server refuses it",
)
_V1_STAGED_DOWNLOAD = Rule(
    "a staged download",
    re.compile(f"[{_V1_FORBIDDEN} ,$]"),
    "the server's own transfer fails on it",
)


@dataclass(frozen=True)
class Rules:
    """The rules of one API generation, by kind of call."""

    ops: Rule
    upload_name: Rule
    checksum: Rule
    file_job: Rule
    staged_upload: Rule
    staged_download: Rule


V1 = Rules(
    ops=_V1_UTILITIES,
    upload_name=_V1_UTILITIES,
    checksum=_V1_UTILITIES,
    file_job=_V1_UTILITIES,
    staged_upload=_V1_UTILITIES,
    staged_download=_V1_STAGED_DOWNLOAD,
)
V2 = Rules(
    ops=OPS,
    upload_name=OPS_UPLOAD_NAME,
    checksum=CHECKSUM,
    file_job=FILE_JOB,
    staged_upload=STAGED_UPLOAD,
    staged_download=STAGED_DOWNLOAD,
)


def check(path: str, rule: Rule, *, field: str = "path") -> str:
    """Return ``path`` when the call can carry it.

    :param path: absolute path on the system.
    :param rule: the rule of the call.
    :param field: what the user calls this path, for the message.
    :raises InvalidRequestError: the path is empty, relative, or holds a character the call cannot carry.
    """
    if not path:
        raise InvalidRequestError(f"{field}: empty.")
    if not path.startswith("/"):
        raise InvalidRequestError(f"{field}: {path!r} is not an absolute path on the system.")
    found = rule.forbidden.search(path)
    if found:
        raise InvalidRequestError(
            f"{field}: {path!r} contains {_name(found.group())}, which {rule.call} cannot carry:"
            f" {rule.reason}. Rename the file."
        )
    # The server rejects a leading "//" only, but doubled slashes never mean anything.
    return "/" + path.lstrip("/")


def check_archived(path: str) -> None:
    """Refuse a name that the server's ``tar`` would take for an option; some of those run commands.

    :param path: what is to be archived.
    :raises InvalidRequestError: its last name starts with a dash.
    """
    if basename(path).startswith("-"):
        raise InvalidRequestError(
            f"path: the name of {path!r} starts with a dash; the server's tar would take it for an option."
            " Archive its directory, or rename it."
        )


def check_argument(value: str, forbidden: str, *, field: str) -> str:
    """Return an argument that is no path when the server's shell leaves it as it is.

    :param value: the argument.
    :param forbidden: regular expression of what ends or crosses the server's quoting.
    :param field: what the user calls it, for the message.
    :raises InvalidRequestError: it would not arrive as it is.
    """
    found = re.search(forbidden, value)
    if found:
        raise InvalidRequestError(
            f"{field}: {value!r} contains {_name(found.group())}, which the server's shell would interpret."
        )
    return value


def check_mode(mode: str) -> str:
    """Return a mode for chmod.

    :raises InvalidRequestError: it is a number, of which nobody knows whether 420 or 0o644 is meant.
    """
    if isinstance(mode, str):
        return mode
    raise InvalidRequestError(f"mode: {mode!r} is not text; write it as text, such as '640' or 'u+x'.")


def can_carry(path: str, rule: Rule) -> bool:
    """Return whether a call of this kind can carry the path."""
    return path.startswith("/") and not rule.forbidden.search(path)


def _name(char: str) -> str:
    names = {
        " ": "a blank",
        "\n": "a newline",
        "\t": "a tab",
        "\r": "a carriage return",
        "'": "a single quote",
        '"': "a double quote",
    }
    return names.get(char, repr(char))


def join(directory: str, name: str) -> str:
    """Join a remote directory and a name."""
    return posixpath.join(directory, name)


def parent(path: str) -> str:
    """Return the directory a remote path stands in."""
    return posixpath.dirname(path.rstrip("/")) or "/"


def basename(path: str) -> str:
    """Return the last name of a remote path."""
    return posixpath.basename(path.rstrip("/"))
