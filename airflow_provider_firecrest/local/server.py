"""One local FirecREST as a process: socket, sandbox, application, orderly end.

Knows: the order of starting and stopping. Must not know: command lines, endpoints.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from airflow_provider_firecrest.local.app import build_app
from airflow_provider_firecrest.local.config import LocalConfig
from airflow_provider_firecrest.local.sandbox import Sandbox, give_up_root_powers
from airflow_provider_firecrest.local.shell import missing_tools
from airflow_provider_firecrest.local.state import LocalState, build_state


class _Server(uvicorn.Server):
    """uvicorn that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def describe(state: LocalState) -> dict[str, Any]:
    """What a client must know to use the server: the content of the ready file."""
    system = state.config.systems[0].name
    connection = {
        "conn_type": "firecrest",
        "host": state.base_url,
        "login": state.config.client_id,
        "password": state.client_secret,
        "extra": {"auth_url": state.token_url, "system": system, "account": state.config.accounts[0]},
    }
    return {
        "base_url": state.base_url,
        "base_url_v1": state.base_url_v1,
        "token_url": state.token_url,
        "control_url": f"{state.origin}/control",
        "client_id": state.config.client_id,
        "client_secret": state.client_secret,
        "system": system,
        "user": state.config.user,
        "root": str(state.sandbox.root),
        "scratch": str(state.sandbox.user_scratch),
        "home": str(state.sandbox.user_home),
        "pid": os.getpid(),
        "conn_json": json.dumps(connection),
    }


def serve(
    config: LocalConfig,
    *,
    on_ready: Callable[[LocalState], None],
    follow_stdin: bool = False,
) -> None:
    """Run until SIGTERM or SIGINT; every job is stopped and a temporary root removed before it returns.

    Args:
        on_ready: called once the server accepts connections.
        follow_stdin: also stop when standard input ends: no server then outlives who started it.

    Raises:
        OSError: the address cannot be bound.
    """
    _stop_politely_on(signal.SIGTERM)
    with socket.create_server((config.host, config.port)) as listener, contextlib.ExitStack() as cleanup:
        # Inherited by connections. asyncio alone leaves it off for a socket made elsewhere: 40 ms an answer.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = listener.getsockname()[1]
        # Made before the powers go: a root given by the user may need them.
        sandbox = Sandbox(config)
        cleanup.callback(sandbox.close)
        if not give_up_root_powers():
            print("warning: running as root; permissions are not enforced", file=sys.stderr)
        if missing := missing_tools():
            print(f"warning: calls will fail for want of {', '.join(missing)}", file=sys.stderr)
        state = build_state(config, sandbox, f"http://{config.host}:{port}")
        cleanup.callback(state.close)
        settings = uvicorn.Config(
            build_app(state),
            # uvloop, where it is installed, starts a process at twice the cost: half the file calls a second.
            loop="asyncio",
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
        )
        server = _Server(settings, lambda: on_ready(state))
        if follow_stdin:
            threading.Thread(target=_stop_at_end_of_stdin, daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def write_ready_file(path: Path, state: LocalState) -> None:
    """Write the description of the server in one step: who sees the file sees all of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(describe(state), indent=1))
    temporary.replace(path)


def _stop_politely_on(number: signal.Signals) -> None:
    # uvicorn stops at SIGTERM and then raises it again under the handler it found. The default one would end
    # the process before the jobs are stopped.
    def handler(_number: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(number, handler)


def _stop_at_end_of_stdin() -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
