"""Sorts FirecREST v1's answers by what they mean.

Nearly every error is HTTP 400; what kind it is stands in a header, in the text, or nowhere: a machine that
is down answers compute calls exactly like a wrong request. Errors of asynchronous calls come as the text of
a task with status 400.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import (
    AmbiguousError,
    AuthenticationError,
    CommandTimeoutError,
    ConflictError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    TooLargeError,
    UnavailableError,
)
from ..flow import Kind, Request, Response
from ..pages import page_for_success, plain_words
from ..retry import server_delay
from ..tool_words import SHAKY_FILE_SYSTEM, TOOL

_HEADERS: tuple[tuple[str, type[FirecrestError]], ...] = (
    ("x-machine-not-available", UnavailableError),
    ("x-permission-denied", PermissionDeniedError),
    ("x-timeout", CommandTimeoutError),
    ("x-size-limit", TooLargeError),
    ("x-exists", ConflictError),
    ("x-not-found", NotFoundError),
    ("x-a-directory", InvalidRequestError),
    ("x-not-a-directory", InvalidRequestError),
    ("x-invalid-mode", InvalidRequestError),
    ("x-invalid-group", InvalidRequestError),
    ("x-invalid-owner", InvalidRequestError),
)
_TOO_LARGE = re.compile(r"exceeded buffer limit", re.IGNORECASE)
_BINARY = re.compile(r"codec can't decode", re.IGNORECASE)
_TASK_SERVICE_DOWN = re.compile(r"Error creating task|Couldn't create task", re.IGNORECASE)

# compute and storage write the second s, utilities and reservations do not. The machine is not what a call
# looks for: "not found" would say that a file or a job is absent.
_NO_MACHINE = ("x-machine-does-not-exist", "x-machine-does-not-exists")

# Slurm's words in a task's text.
_NOT_REACHED = re.compile(
    r"Unable to contact slurm controller|Connection refused|controller not responding|in standby",
    re.IGNORECASE,
)
# sbatch's last word: it gave up before anything was sent. "Not responding, sleeping and retrying" alone is
# what it writes when it succeeds after all.
_NOT_SUBMITTED = re.compile(r"submission failed: Unable to contact slurm controller", re.IGNORECASE)
_USAGE = re.compile(r'Try "sbatch --help"', re.IGNORECASE)
_LOST = re.compile(
    r"Socket timed out|Zero Bytes were transmitted|Communication connection failure|temporarily unavailable",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"\bQOS(?:Max|Grp|Min)\w*|\bAssoc(?:Max|Grp)\w*|MaxSubmitJob|accounting/QOS policy",
    re.IGNORECASE,
)
_FULL = re.compile(r"Disk quota exceeded|No space left on device|File too large", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|not permitted|does not have permission", re.IGNORECASE)
_SSH = re.compile(r"Authentication failed|timed out|Connection reset|transport shut down|SSH", re.IGNORECASE)


def error_of(request: Request, response: Response) -> FirecrestError | None:
    """Return the error an answer stands for, or None when it is a success.

    :param request: what was asked.
    :param response: the answer.
    """
    status = response.status
    if 200 <= status < 300:
        return page_for_success(request, response)
    words, is_json = _words(response)
    details: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "status": status,
        "server_message": words,
    }
    if 300 <= status < 400:
        where = response.headers.get("location", "elsewhere")
        return ProtocolError(
            f"The server redirects to {where}; put the final address into the connection's host.", **details
        )
    if status == 401:
        return AuthenticationError("FirecREST refuses the access token.", **details)
    if status == 403:
        return PermissionDeniedError("FirecREST says this account may not do that.", **details)
    if status == 429:
        return RateLimitError("Too many requests.", retry_after=server_delay(response.headers), **details)
    if status == 413:
        return TooLargeError("Too large for a direct call.", **details)
    # 408 is no answer of v1's, but of what stands before it.
    if status >= 500 or status == 408:
        return _server_error(request, details)
    if not is_json:
        return ProtocolError("There is no such path; is the host the base URL of FirecREST?", **details)
    if status == 404:
        cls = InvalidRequestError if "json" in words.lower() else NotFoundError
        return cls(words or "Not found.", **details)
    return _bad_request(request, response, words, details)


def task_error(data: Any, *, what: str, creates: bool) -> FirecrestError:
    """Return the error behind a task that ended with status 400.

    :param data: the task's data: text, or a dict with ``msg``.
    :param what: the call, for the message.
    :param creates: the call submits something, so that some failures leave it open whether it did.
    """
    words = str(data.get("msg", data) if isinstance(data, dict) else data).strip()
    details: dict[str, Any] = {"server_message": words}
    if _LOST.search(words):
        cls = AmbiguousError if creates else UnavailableError
        return cls(f"{what}: Slurm did not answer in time.", **details)
    if _NOT_REACHED.search(words) and (not creates or _NOT_SUBMITTED.search(words)):
        return UnavailableError(f"{what}: Slurm is down.", **details)
    if _NOT_REACHED.search(words):
        return AmbiguousError(f"{what}: Slurm was down for a while, and the job may be there.", **details)
    if _QUOTA.search(words):
        return QuotaError(f"{what}: a limit of the scheduler is reached.", **details)
    if _FULL.search(words):
        return QuotaError(f"{what}: there is no space left.", **details)
    if _DENIED.search(words):
        return PermissionDeniedError(f"{what}: not permitted.", **details)
    if creates and not _is_refusal(words):
        # Any text that sbatch writes besides, a warning say, makes the server call it failed although the
        # job runs.
        return AmbiguousError(f"{what}: reported as failed, but the job may have been submitted.", **details)
    if "invalid job id specified" in words.lower():
        return NotFoundError(f"{what}: unknown job.", **details)
    return InvalidRequestError(f"{what}: refused.", **details)


def _is_refusal(words: str) -> bool:
    said = words.lower()
    return "error:" in said or said.startswith("invalid") or _USAGE.search(words) is not None


def _server_error(request: Request, details: dict[str, Any]) -> FirecrestError:
    if request.kind is Kind.CREATE:
        return AmbiguousError("The server failed; what was asked may have happened.", **details)
    return UnavailableError("FirecREST or a service behind it is down.", **details)


def _bad_request(request: Request, response: Response, words: str, details: dict[str, Any]) -> FirecrestError:
    if _TASK_SERVICE_DOWN.search(words):
        return UnavailableError("FirecREST's task service is down.", **details)
    if _FULL.search(words):
        # In the same answer as that of a machine that is down.
        return QuotaError("There is no space left for it.", **details)
    if any(header in response.headers for header in _NO_MACHINE):
        return InvalidRequestError("FirecREST has no machine of that name; systems() lists them.", **details)
    for header, cls in _HEADERS:
        if header in response.headers:
            return cls(_sentence(cls, words), **details)
    if "x-invalid-path" in response.headers:
        cls = InvalidRequestError if "not a directory" in words.lower() else NotFoundError
        return cls(words or "No such path.", **details)
    if "x-error" in response.headers:
        if _TOO_LARGE.search(words):
            return TooLargeError("Too large for a direct call.", **details)
        if _BINARY.search(words):
            return InvalidRequestError("The file is not text.", **details)
        if TOOL.search(words):
            return _tool_failure(request, details)
        return UnavailableError("The machine cannot be reached.", **details)
    if words in _NAMELESS_OUTAGES or _SSH.search(words) or "Connection refused" in words:
        # No header and the most general of texts: the machine is down, or ssh to it is.
        return UnavailableError("The machine cannot be reached.", **details)
    if not words:
        return ProtocolError("The server answered 400 with an empty body.", **details)
    return InvalidRequestError("FirecREST refuses the request.", **details)


def _tool_failure(request: Request, details: dict[str, Any]) -> FirecrestError:
    """Return the error for a tool's complaint that the server has no header for."""
    if not SHAKY_FILE_SYSTEM.search(details["server_message"]):
        return InvalidRequestError("The command on the system failed.", **details)
    if request.kind is Kind.CREATE:
        return AmbiguousError("The file system failed; what was asked may have happened.", **details)
    return UnavailableError("The file system cannot answer now.", **details)


_NAMELESS_OUTAGES = frozenset(
    {
        "Failed to retrieve jobs information",
        "Failed to retrieve account information",
        "Failed to submit job",
        "Failed to delete job",
        "Error listing reservations",
    }
)


def _sentence(cls: type[FirecrestError], words: str) -> str:
    sentences = {
        PermissionDeniedError: "The file system refuses.",
        CommandTimeoutError: "The call took longer than the server allows.",
        TooLargeError: "Too large for a direct call.",
        UnavailableError: "The machine is not available.",
        InvalidRequestError: "FirecREST refuses the request.",
    }
    return sentences.get(cls) or words or "Refused."


def _words(response: Response) -> tuple[str, bool]:
    """Return the server's own words, and whether they came as JSON."""
    try:
        body = response.json()
    except ValueError:
        return plain_words(response.text)[:200], False
    if not isinstance(body, dict):
        return str(body)[:200], True
    if "errorType" in body:
        # v2's form of an error: whoever speaks v1 to it is at the wrong address.
        return str(body.get("message") or "")[:200], False
    if set(body) == {"message"}:
        # The gateway's form: it has no such route. "Not found" would say that a file is absent.
        return str(body["message"])[:200], False
    said = [str(body[key]).strip() for key in ("error", "description", "message") if body.get(key)]
    # Where the error only repeats which call it was, the description has the reason.
    if len(said) > 1 and said[0].startswith("Error "):
        return f"{said[0]}: {said[1]}", True
    return (said[0] if said else ""), True
