"""``/status``: services, systems, file systems, parameters; every answer is repeated for 16 minutes.

Knows: the answers and the cache. Must not know: jobs, files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request

from airflow_provider_firecrest.local.v1.access import Reach, authenticate, reach
from airflow_provider_firecrest.local.v1.context import V1, v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error

VERSION = "1.16.6"
_SERVICES = ("certificator", "compute", "reservations", "storage", "tasks", "utilities")
_MIB = 1024 * 1024
# Size limit of S3 for one POST, in MB.
_STAGING_LIMIT = 5120
_DESCRIPTIONS = {
    Reach.OPEN: ("System ready", "available"),
    Reach.REFUSED: ("System does not accept connections", "not available"),
    Reach.NO_HOST: ("System down", "not available"),
}


def status_router() -> APIRouter:
    """Routes under ``/status``; needs ``app.state.v1``."""
    router = APIRouter(prefix="/status")
    router.get("/services")(get_services)
    router.get("/services/{name}")(get_service)
    router.get("/systems")(get_systems)
    router.get("/systems/{name}")(get_system)
    router.get("/filesystems")(get_filesystems)
    router.get("/filesystems/{name}")(get_system_filesystems)
    router.get("/parameters")(get_parameters)
    return router


def _cached(request: Request, answer: Callable[[V1], Any]) -> Any:
    """The answer given to anybody before, unless it is old or the client wants none of it."""
    authenticate(request)
    v1, key, now = v1_of(request), request.url.path, time.monotonic()
    since, known = v1.status_cache.get(key, (0.0, None))
    fresh_wanted = "no-cache" in request.headers.get("cache-control", "").lower()
    if known is not None and now - since < v1.settings.cache_ttl and not fresh_wanted:
        return known
    value = answer(v1)
    v1.status_cache[key] = (now, value)
    return value


def _service(name: str) -> dict[str, Any]:
    text = "server up & flask running"
    return {"description": text, "service": name, "status": "available", "status_code": 200}


def get_services(request: Request) -> Any:
    """All services; they are all up."""
    text = "List of services with status and description."
    return _cached(request, lambda _v1: {"description": text, "out": [_service(name) for name in _SERVICES]})


def get_service(request: Request, name: str) -> Any:
    """One service."""

    def answer(_v1: V1) -> dict[str, Any]:
        if name not in _SERVICES:
            raise V1Error({"description": "Service does not exists", "status_code": 404}, status=404)
        return _service(name)

    return _cached(request, answer)


def _system(v1: V1, name: str) -> dict[str, str]:
    # Asked as nobody in particular: a known user's way in counts.
    description, status = _DESCRIPTIONS[reach(v1, name, v1.local.config.user)]
    return {"description": description, "status": status, "system": name}


def get_systems(request: Request) -> Any:
    """All machines, those that cannot be reached included."""
    text = "List of systems with status and description."
    return _cached(
        request, lambda v1: {"description": text, "out": [_system(v1, name) for name in v1.machines]}
    )


def get_system(request: Request, name: str) -> Any:
    """One machine."""
    return _cached(request, lambda v1: {"description": "System information", "out": _known_system(v1, name)})


def _known_system(v1: V1, name: str) -> dict[str, str]:
    if name not in v1.machines:
        raise V1Error({"description": "System does not exists."}, status=404)
    return _system(v1, name)


def _filesystems(v1: V1, name: str) -> list[dict[str, Any]]:
    up = reach(v1, name, v1.local.config.user) is Reach.OPEN
    home, scratch = v1.local.sandbox.home, v1.local.sandbox.scratch
    published = [("HOME", "Users home filesystem", home)]
    if name in {system.name for system in v1.local.config.systems}:
        published.append(("SCRATCH", "Scratch filesystem", scratch))
    return [
        {
            "description": description,
            "name": label,
            "path": str(path),
            "status": "available" if up else "not available",
            "status_code": 200 if up else 400,
        }
        for label, description, path in published
    ]


def get_filesystems(request: Request) -> Any:
    """The file systems of every machine."""
    text = "Filesystem information"
    return _cached(
        request,
        lambda v1: {"description": text, "out": {name: _filesystems(v1, name) for name in v1.machines}},
    )


def get_system_filesystems(request: Request, name: str) -> Any:
    """The file systems of one machine."""

    def answer(v1: V1) -> dict[str, Any]:
        _known_system(v1, name)
        text = f"Filesystem information for system {name}"
        return {"description": text, "out": _filesystems(v1, name)}

    return _cached(request, answer)


def get_parameters(request: Request) -> Any:
    """Limits and kinds of everything a client may want to know."""
    return _cached(request, lambda v1: {"description": "Firecrest's parameters", "out": _parameters(v1)})


def _parameter(name: str, value: Any, unit: str, description: str) -> dict[str, Any]:
    return {"description": description, "name": name, "unit": unit, "value": value}


def _parameters(v1: V1) -> dict[str, list[dict[str, Any]]]:
    config = v1.local.config
    mounted = [
        {"mounted": [fs["path"] for fs in _filesystems(v1, name)], "system": name} for name in v1.machines
    ]
    url_ttl = config.url_ttl if v1.settings.url_ttl is None else v1.settings.url_ttl
    return {
        "compute": [
            _parameter(
                "WORKLOAD_MANAGER",
                "Slurm",
                "",
                "Type of resource and workload manager used in compute microservice.",
            )
        ],
        "general": [
            _parameter("FIRECREST_VERSION", VERSION, "", "FirecREST version."),
            _parameter("FIRECREST_BUILD", "local", "", "FirecREST build timestamp."),
        ],
        "storage": [
            _parameter(
                "OBJECT_STORAGE", "s3v4", "", "Type of object storage, like `swift`, `s3v2` or `s3v4`."
            ),
            _parameter("STORAGE_TEMPURL_EXP_TIME", str(url_ttl), "seconds", "Expiration time for temp URLs."),
            _parameter(
                "STORAGE_MAX_FILE_SIZE", str(_STAGING_LIMIT), "MB", "Maximum file size for temp URLs."
            ),
            _parameter("FILESYSTEMS", mounted, "", "Available filesystems through the API."),
        ],
        "utilities": [
            _parameter(
                "UTILITIES_MAX_FILE_SIZE",
                f"{config.max_ops_file_size // _MIB}",
                "MB",
                "The maximum allowable file size for various operations of the utilities microservice.",
            ),
            _parameter(
                "UTILITIES_TIMEOUT",
                f"{config.ops_timeout:g}",
                "seconds",
                "Maximum time duration for executing the commands in the cluster "
                "for the utilities microservice.",
            ),
        ],
    }
