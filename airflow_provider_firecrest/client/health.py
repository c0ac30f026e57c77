"""Walks a connection hop by hop (token, API, system, its services) and names the one that fails."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from .errors import AuthenticationError, ConfigurationError, FirecrestError, NotFirecrestError, ProtocolError
from .models import System
from .sync_client import FirecrestClient

_NAMES = {
    "scheduler": "scheduler",
    "ssh": "login node (ssh)",
    "filesystem": "file system",
    "s3": "object storage",
}


def check_connection(client: FirecrestClient, *, within: float | None = None) -> tuple[bool, str]:
    """Test a connection without changing anything.

    :param client: a client; short ``timeout`` and ``retry_budget`` keep the test short.
    :param within: seconds for all of it, however many answers come slowly; default: as long as it takes.
    :returns: whether all is well, and one line for the user that names the failing hop.
    :endpoint: the token endpoint, GET /status/systems, GET /status/{system}/userinfo
    """
    hops = ["its systems"]
    if within is None:
        return _walk(client, hops)
    told: Future[tuple[bool, str]] = Future()
    # Not a pool's: that one would be waited for when the process ends.
    threading.Thread(target=_tell, args=(told, client, hops), daemon=True).start()
    try:
        return told.result(within)
    except TimeoutError:
        return False, (
            f"Too slow: after {within:.0f} s {client.base_url} was still being asked for {hops[-1]}. Every"
            " answer so far was good."
        )


def _tell(told: Future[tuple[bool, str]], client: FirecrestClient, hops: list[str]) -> None:
    try:
        told.set_result(_walk(client, hops))
    except BaseException as error:
        told.set_exception(error)


def _walk(client: FirecrestClient, hops: list[str]) -> tuple[bool, str]:
    try:
        systems = client.systems()
    except ConfigurationError as error:
        return False, error.message
    except NotFirecrestError as error:
        return False, f"API failed: {error.message}"
    except AuthenticationError as error:
        return False, f"Login failed: {_plain(error)}"
    except ProtocolError as error:
        if error.message.startswith("host: "):
            return False, f"API failed: {error.message}"
        return False, f"API failed: {client.base_url} does not answer like FirecREST. {_plain(error)}"
    except FirecrestError as error:
        return False, f"{_hop(error)} failed: {_plain(error)}"
    names = ", ".join(each.name for each in systems) or "none"
    which = f"FirecREST v{client.api.generation}"
    if client.system is None:
        return (
            True,
            f"{which} accepts the token. Systems: {names}; the connection names no default one.",
        )
    system = next((each for each in systems if each.name.lower() == client.system.lower()), None)
    if system is None:
        return False, f"System failed: there is no system {client.system!r}; this FirecREST has: {names}."
    problem = _sick_service(system)
    if problem:
        return False, problem
    hops.append("its user")
    try:
        user = client.userinfo()
    except FirecrestError as error:
        return (
            False,
            f"User failed: the token is accepted, but {system.name} does not know its user. {_plain(error)}",
        )
    return True, f"{which} answers; system {system.name} is healthy; you are {user.name} there."


def _sick_service(system: System) -> str | None:
    for each in system.health:
        if not each.healthy:
            name = _NAMES.get(each.service, each.service)
            where = f" {each.path}" if each.path else ""
            why = f": {each.message}" if each.message else "."
            return f"{name.capitalize()}{where} of {system.name} failed at FirecREST's last check{why}"
    return None


def _hop(error: FirecrestError) -> str:
    """Name what an error speaks of that says nothing of credentials."""
    if error.message.startswith("auth_command"):
        return "Token command"
    return "Token server" if "token server" in error.message.lower() else "API"


def _plain(error: FirecrestError) -> str:
    return error.message + (f" ({error.server_message})" if error.server_message else "")
