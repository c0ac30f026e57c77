"""``python -m airflow_provider_firecrest.local``: a FirecREST v1 and v2 server on this machine.

Knows: the command line. Must not know: how the server works.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from airflow_provider_firecrest.local.config import LocalConfig
from airflow_provider_firecrest.local.server import describe, serve, write_ready_file
from airflow_provider_firecrest.local.state import LocalState

_DEFAULTS = LocalConfig()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_firecrest.local",
        description="Run FirecREST v1 and v2 with a scheduler, file tree and object store on this machine. "
        "Batch scripts run as your own processes: keep it on the loopback address.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default=_DEFAULTS.host, help="address to listen on")
    add("--port", type=int, default=_DEFAULTS.port, help="port to listen on; 0 takes a free one")
    add("--root", type=Path, help="directory for the file systems; without it a temporary one")
    add("--cpus", type=int, default=_DEFAULTS.cpus, help="CPUs of the cluster")
    add(
        "--token-ttl",
        type=int,
        default=_DEFAULTS.token_ttl,
        help="life of a token in seconds (over 30)",
    )
    add(
        "--ingress-interval",
        type=float,
        default=_DEFAULTS.ingress_interval,
        help="seconds between an upload job's looks",
    )
    add(
        "--ops-timeout",
        type=float,
        default=_DEFAULTS.ops_timeout,
        help="limit of file system commands in seconds",
    )
    add(
        "--max-part-size",
        type=int,
        default=_DEFAULTS.max_part_size,
        help="bytes of a part of a staged transfer",
    )
    add("--url-ttl", type=int, default=_DEFAULTS.url_ttl, help="life of a presigned URL in seconds")
    add(
        "--transfer-time-limit",
        type=int,
        default=_DEFAULTS.transfer_time_limit,
        help="time limit of transfer jobs in seconds",
    )
    add(
        "--v1-polling-interval",
        type=float,
        default=_DEFAULTS.v1_polling_interval,
        help="v1: seconds between two looks for a staged file",
    )
    add(
        "--v1-acct-lag",
        type=float,
        default=_DEFAULTS.v1_acct_lag,
        help="v1: seconds until accounting shows a new job",
    )
    add(
        "--v1-account-from-group",
        action="store_true",
        help="v1: refuse transfer jobs that name no account",
    )
    add("--ready-file", type=Path, help="file to write a JSON description to once the server is ready")
    add("--client-id", default=_DEFAULTS.client_id, help="client of the token endpoint")
    add("--client-secret", help="its secret; without it a random one")
    add("--second-system", default="", help="name of a further system whose transfers need an account")
    add("--stop-with-stdin", action="store_true", help="stop when standard input ends")
    add("--quiet", action="store_true", help="print nothing")
    return parser


def _config(options: argparse.Namespace) -> LocalConfig:
    return LocalConfig(
        host=options.host,
        port=options.port,
        root=options.root,
        cpus=options.cpus,
        token_ttl=options.token_ttl,
        ingress_interval=options.ingress_interval,
        ops_timeout=options.ops_timeout,
        max_part_size=options.max_part_size,
        url_ttl=options.url_ttl,
        transfer_time_limit=options.transfer_time_limit,
        v1_polling_interval=options.v1_polling_interval,
        v1_acct_lag=options.v1_acct_lag,
        v1_account_from_group=options.v1_account_from_group,
        client_id=options.client_id,
        client_secret=options.client_secret,
        second_system=options.second_system.lower(),
    )


def _greeting(state: LocalState) -> str:
    known = describe(state)
    return f"""\
FirecREST v2      {known["base_url"]}
FirecREST v1      {known["base_url_v1"]}
Token endpoint    {known["token_url"]}
Client id         {known["client_id"]}
Client secret     {known["client_secret"]}
System            {known["system"]}
Your scratch      {known["scratch"]}
Your home         {known["home"]}

Connection for Airflow (for v1 replace /v2 by /v1):
export AIRFLOW_CONN_FIRECREST_DEFAULT='{known["conn_json"]}'

Ctrl-C stops the server and every job."""


def main(arguments: list[str] | None = None) -> int:
    """Run the server until it is told to stop; exit code 1 when it cannot start."""
    options = _parser().parse_args(arguments)

    def ready(state: LocalState) -> None:
        if options.ready_file:
            write_ready_file(options.ready_file, state)
        if not options.quiet:
            print(_greeting(state), flush=True)

    try:
        serve(_config(options), on_ready=ready, follow_stdin=options.stop_with_stdin)
    except OSError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
