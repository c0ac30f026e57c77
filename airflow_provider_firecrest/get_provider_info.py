"""What Airflow is told about this provider: its modules, and the form of its connection type.

Knows names only. Must not import Airflow: Airflow calls this before its own configuration exists.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_firecrest import __version__

_INTEGRATION = "FirecREST"
_PACKAGE = "airflow_provider_firecrest"
_TEXT = ["string", "null"]


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow's providers manager (entry point ``apache_airflow_provider``)."""
    return {
        "package-name": "airflow-provider-firecrest",
        "name": _INTEGRATION,
        "description": "Run Slurm jobs and move files on supercomputers through `FirecREST "
        "<https://eth-cscs.github.io/firecrest-v2/>`__.\n",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://eth-cscs.github.io/firecrest-v2/",
                "tags": ["service"],
            }
        ],
        "hooks": _modules("hooks.firecrest"),
        "operators": _modules(
            "operators.jobs", "operators.transfers", "operators.internal", "operators.filesystem"
        ),
        "sensors": _modules("sensors.jobs", "sensors.files", "sensors.systems", "sensors.tasks"),
        "triggers": _modules(
            "triggers.jobs",
            "triggers.dependent_jobs",
            "triggers.files",
            "triggers.pause",
            "triggers.systems",
            "triggers.tasks",
        ),
        "connection-types": [
            {
                "connection-type": "firecrest",
                "hook-name": _INTEGRATION,
                "hook-class-name": f"{_PACKAGE}.hooks.firecrest.FirecrestHook",
                "ui-field-behaviour": _standard_fields(),
                "conn-fields": _extra_fields(),
            }
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.{name}" for name in names]}]


def _standard_fields() -> dict[str, Any]:
    return {
        "hidden-fields": ["schema", "port"],
        "relabeling": {"host": "FirecREST URL", "login": "Client ID", "password": "Client secret"},
        "placeholders": {"host": "https://api.example.org/hpc/firecrest/v2"},
    }


def _extra_fields() -> dict[str, Any]:
    """The connection's ``extra``, as Airflow 3.2 and later draw it.

    Airflow hides the value of every field whose name contains ``token``, ``secret``, ``api_key`` and a few
    more words, whatever its format: so a field is named that way if, and only if, its value is a secret.
    """
    return {
        "auth_url": _field(
            "Token URL",
            "OAuth2 token endpoint of the identity provider. Needed for client credentials.",
            format="url",
        ),
        "auth_method": _field(
            "Authentication",
            "client_secret_post and client_secret_basic get tokens with client ID and secret, sent in the "
            "form or in the Authorization header; static_token uses the access token below; token_command "
            "runs the command below; api_key sends the key below.",
            enum=["client_secret_post", "client_secret_basic", "static_token", "token_command", "api_key"],
            default="client_secret_post",
        ),
        "scope": _field("Scope", "OAuth2 scope to ask for, if the identity provider wants one."),
        "access_token": _field("Access token", "For static_token: the token itself.", format="password"),
        "auth_command": _field("Token command", "For token_command: a command that prints an access token."),
        "api_key": _field("API key", "For api_key: the key.", format="password"),
        "api_version": _field(
            "API version",
            "Generation of FirecREST behind the URL; auto asks the server.",
            enum=["auto", "1", "2"],
            default="auto",
        ),
        "system": _field("System", "Default system, as FirecREST names it. Tasks can name another."),
        "account": _field("Account", "Default Slurm account (project). Tasks can name another."),
        "working_dir": _field(
            "Working directory", "Default working directory of jobs: an absolute path on the system."
        ),
        "installation": _field(
            "Installation",
            "Name of this Airflow, if another one runs the same DAGs under the same account (test and "
            "production, say): tells their jobs apart.",
        ),
        "verify": {
            "label": "Verify TLS",
            "description": "Check the servers' certificates.",
            "schema": {"type": ["boolean", "null"], "default": True},
        },
        "ca_bundle": _field("CA bundle", "File of the authorities to trust, on Airflow's machines."),
        "timeout": _number("Timeout", "Seconds to wait for an answer to one request.", minimum=1),
        "max_requests_per_second": _number(
            "Requests per second", "At most so many, per process.", minimum=0.01
        ),
        "max_concurrent_requests": _whole_number(
            "Concurrent requests", "At most so many at a time, in one task or in the triggerer."
        ),
        "retry_budget": _number(
            "Retry budget", "Seconds during which a failed call that may be repeated is repeated.", minimum=0
        ),
        "max_script_size": _whole_number(
            "Largest script", "Bytes of a batch script that the site's Slurm takes. Its own default is 4 MiB."
        ),
    }


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": _TEXT, **schema}}


def _number(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["number", "null"], **schema}}


def _whole_number(label: str, description: str) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["integer", "null"], "minimum": 1},
    }
