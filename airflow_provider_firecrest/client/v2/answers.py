"""Sorts FirecREST v2's error answers by what they mean, not by their number.

The same status means opposite things: a 500 can be sbatch's permanent refusal, an outage of ssh, or a job
that was
submitted after all; a 400 can be a file that exists. Knows only requests and answers.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

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
from ..tool_words import SHAKY_FILE_SYSTEM

# sbatch's own words behind "Unexpected Slurm command response. exit_status:N std_err:...".
_SLURM_REFUSAL = re.compile(
    r"Unexpected Slurm command response\. exit_status:-?\d+ std_err:\s*(.*)", re.DOTALL
)
_TOOL_FAILURE = re.compile(
    r"Remote process failed with exit status:-?\d+ and error message:\s*(.*)", re.DOTALL
)
_SLURM_OUTAGE = re.compile(
    r"Socket timed out|Unable to contact slurm controller|Connection refused|Slurm controller not responding"
    r"|Zero Bytes were transmitted"
    r"|Resource temporarily unavailable|Slurm backup controller in standby|Slurm temporarily unable"
    r"|Communication connection failure",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"\bQOS(?:Max|Grp|Min)\w*|\bAssoc(?:Max|Grp)\w*|MaxSubmitJob|accounting/QOS policy"
    r"|Disk quota exceeded|No space left on device|File too large",
    re.IGNORECASE,
)
_DENIED = re.compile(r"permission denied|operation not permitted|Access/permission denied", re.IGNORECASE)
_EXISTS = re.compile(r"File exists|already exists", re.IGNORECASE)
_MISSING = re.compile(r"No such file or directory", re.IGNORECASE)
_NO_SSH_LOGIN = "No SSH credentials found"
# The server's words when it got nowhere: its own health check forbade it, nobody listens at the login node
# (the submit is always the last command there), or the object store, which is asked first, is away.
_NOTHING_DONE = re.compile(
    r"is unhealthy|^\(111, 'Connection refused'\)$|Could not connect to the endpoint URL"
)


def error_of(request: Request, response: Response) -> FirecrestError | None:
    """Return the error an answer stands for, or None when it is a success.

    :param request: what was asked; whether it creates something decides between "unavailable" and
        "ambiguous".
    :param response: the answer.
    """
    if 200 <= response.status < 300:
        return page_for_success(request, response)
    words, answered = _words(response)
    details: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "status": response.status,
        "server_message": _tool_words(words),
    }
    if response.status >= 500:
        return _server_error(request, response, words, answered, details)
    return _client_error(request, response, words, answered, details)


def _client_error(
    request: Request, response: Response, words: str, answered: bool, details: dict[str, Any]
) -> FirecrestError:
    status = response.status
    if 300 <= status < 400:
        # A login page's address carries the state of the login in its query.
        where = response.headers.get("location", "elsewhere").split("?", 1)[0]
        return ProtocolError(
            f"The server redirects to {where}; put the final address into the connection's host.", **details
        )
    if status == 401:
        return AuthenticationError("FirecREST refuses the access token.", **details)
    if status == 403:
        if _QUOTA.search(words):
            return QuotaError("A limit of the scheduler is reached.", **details)
        if _EXISTS.search(words):
            return ConflictError(_tool_words(words), **details)
        return PermissionDeniedError("FirecREST says this account may not do that.", **details)
    if status == 404:
        if not answered:
            return ProtocolError("There is no such path; is the host the base URL of FirecREST?", **details)
        if words.lower().startswith("system not found"):
            # Not what a call looks for: "not found" would say that a file or a job is absent.
            return InvalidRequestError(
                f"FirecREST has no system {_system_in(request)!r}; client.systems() lists those it has.",
                **details,
            )
        return NotFoundError(_first_line(words) or "Not found.", **details)
    if status == 408:
        if request.kind is Kind.CREATE:
            return AmbiguousError(
                "FirecREST ran into a timeout; what was asked may have happened.", **details
            )
        return CommandTimeoutError("The call took longer than the server allows.", **details)
    if status == 413:
        return TooLargeError("Too large for a direct call.", **details)
    if status in (424, 425, 429):
        if status == 429:
            return RateLimitError("Too many requests.", retry_after=server_delay(response.headers), **details)
        return UnavailableError("FirecREST cannot answer now.", **details)
    if status == 400 and _EXISTS.search(words):
        return ConflictError(_tool_words(words), **details)
    if status == 400 and not words:
        return ProtocolError("The server answered 400 with an empty body.", **details)
    return InvalidRequestError("FirecREST refuses the request.", **details)


def _system_in(request: Request) -> str:
    """Return the system of a call: the second part of its path, in all of them."""
    return unquote((*request.path.split("/"), "", "")[2])


def _server_error(
    request: Request, response: Response, words: str, answered: bool, details: dict[str, Any]
) -> FirecrestError:
    refusal = _SLURM_REFUSAL.search(words)
    outage = _SLURM_OUTAGE.search(words)
    if refusal and not outage:
        return _slurm_refusal(refusal.group(1).strip(), details)
    tool = _TOOL_FAILURE.search(words)
    if tool and not outage:
        return _tool_failure(request, tool.group(1).strip(), details)
    if words.startswith("Invalid output:"):
        return InvalidRequestError(
            "The server could not read its own tool's answer; the path has an odd name.", **details
        )
    if _NO_SSH_LOGIN in words:
        return PermissionDeniedError("FirecREST has no login for this user on the system.", **details)
    nothing_done = answered and _NOTHING_DONE.search(words)
    if request.kind is Kind.CREATE and not nothing_done:
        return AmbiguousError("The server failed; what was asked may have happened.", **details)
    return UnavailableError(
        "FirecREST or a service behind it is down.", retry_after=server_delay(response.headers), **details
    )


def _slurm_refusal(stderr: str, details: dict[str, Any]) -> FirecrestError:
    details["server_message"] = stderr
    if _QUOTA.search(stderr):
        return QuotaError("A limit of the scheduler is reached.", **details)
    if _DENIED.search(stderr):
        return PermissionDeniedError("Slurm refuses: not permitted.", **details)
    return InvalidRequestError("Slurm refuses the request.", **details)


def _tool_failure(request: Request, stderr: str, details: dict[str, Any]) -> FirecrestError:
    details["server_message"] = stderr
    if SHAKY_FILE_SYSTEM.search(stderr):
        if request.kind is Kind.CREATE:
            return AmbiguousError("The file system failed; what was asked may have happened.", **details)
        return UnavailableError("The file system cannot answer now.", **details)
    if _QUOTA.search(stderr):
        return QuotaError("A limit of the file system is reached.", **details)
    if _MISSING.search(stderr):
        return NotFoundError(stderr, **details)
    if _DENIED.search(stderr):
        return PermissionDeniedError("The file system refuses.", **details)
    return InvalidRequestError("The command on the system failed.", **details)


def _words(response: Response) -> tuple[str, bool]:
    """Return the server's own words, and whether it was FirecREST that answered (its errors are always JSON
    objects).
    """
    try:
        body = response.json()
    except ValueError:
        # A proxy's HTML page helps nobody; its first words may.
        return plain_words(response.text)[:200], False
    if not isinstance(body, dict):
        return str(body)[:200], False
    fields = (body.get("data") or {}).get("fields") if isinstance(body.get("data"), dict) else None
    if fields:
        return "; ".join(_field(each) for each in fields if isinstance(each, dict)), True
    message = (
        body.get("message")
        or body.get("error_description")
        or body.get("error")
        or body.get("description")
        or ""
    )
    return str(message).strip(), "errorType" in body


def _field(problem: dict[str, Any]) -> str:
    place = ".".join(str(problem[key]) for key in ("location", "name") if problem.get(key) is not None)
    return f"{place}: {problem.get('message')}"


def _tool_words(words: str) -> str:
    match = _TOOL_FAILURE.search(words)
    return (match.group(1) if match else words).strip()


def _first_line(words: str) -> str:
    return _tool_words(words).splitlines()[0] if words.strip() else ""
