"""FirecREST v2 ``/status``: systems, nodes, partitions, reservations, user information.

Knows: answer shapes. Must not know: how jobs or files are handled.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from airflow_provider_firecrest.local.access import System, User
from airflow_provider_firecrest.local.config import LocalConfig, SystemConfig
from airflow_provider_firecrest.local.slurm import Reservation
from airflow_provider_firecrest.local.slurm.views import cpus_in_use
from airflow_provider_firecrest.local.state import LocalState, state_of

# What the recorded servers were configured with.
_HEALTH_INTERVAL = 20
_HIDDEN = "**********"
_SHARED_GROUP_ID = 2100


def status_router() -> APIRouter:
    """Routes under ``/status``; needs ``app.state.firecrest`` and ``request.state.user``."""
    router = APIRouter(prefix="/status", tags=["status"])
    router.get("/systems")(get_systems)
    router.get("/liveness/")(get_liveness)
    router.get("/{system_name}/nodes")(get_system_nodes)
    router.get("/{system_name}/reservations")(get_system_reservations)
    router.get("/{system_name}/partitions")(get_system_partitions)
    router.get("/{system_name}/userinfo")(get_userinfo)
    return router


def get_systems(request: Request, user: User) -> dict[str, Any]:
    """What the site publishes about its systems; costs the real server no command at all."""
    state = state_of(request)
    checked = _last_check()
    return {"systems": [_system(system, state, checked) for system in state.config.systems]}


def get_liveness(request: Request) -> dict[str, Any]:
    """When each system's health was last checked, and how many seconds ago. Asks for no token."""
    checked = _last_check()
    runs = {system.name: _iso(checked) for system in state_of(request).config.systems}
    return {"healthcheckRuns": runs, "lastUpdate": int(time.time() - checked)}


def get_system_nodes(request: Request, user: User, system: System) -> dict[str, Any]:
    """``sinfo -N``: nodes with their load."""
    scheduler = state_of(request).scheduler
    names = scheduler.config.nodes
    total = max(scheduler.config.cpus // len(names), 1)
    used = min(-(-cpus_in_use(scheduler) // len(names)), total)
    free_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") // (1024 * 1024)
    common = {
        "sockets": total,
        "cores": total,
        "threads": total,
        "cpus": total,
        "cpuLoad": round(os.getloadavg()[0], 2),
        "freeMemory": free_mb,
        "features": ",".join(scheduler.config.features),
        "address": "127.0.0.1",
        "hostname": "localhost",
        "state": ["IDLE" if not used else "ALLOCATED" if used == total else "MIXED"],
        "partitions": [partition.name for partition in scheduler.config.partitions],
        "weight": 1,
        "allocMemory": scheduler.config.memory_mb,
        "allocCpus": used,
        "idleCpus": total - used,
    }
    return {"nodes": [{**common, "name": name} for name in names]}


def get_system_reservations(request: Request, user: User, system: System) -> dict[str, Any]:
    """``scontrol show reservations``."""
    reservations = state_of(request).scheduler.config.reservations
    now = time.time()
    return {"reservations": [describe_reservation(reservation, now) for reservation in reservations]}


def get_system_partitions(
    request: Request, user: User, system: System, show_hidden: bool = False
) -> dict[str, Any]:
    """``scontrol show partitions``; hidden ones only on demand."""
    config = state_of(request).scheduler.config
    shown = [partition for partition in config.partitions if show_hidden or not partition.hidden]
    rest = {"cpus": config.cpus, "totalNodes": len(config.nodes), "partition": "UP"}
    return {"partitions": [{"name": partition.name, **rest} for partition in shown]}


def get_userinfo(request: Request, user: User, system: System) -> dict[str, Any]:
    """``id`` and the user's accounts; the first account of the site is everybody's default."""
    state = state_of(request)
    scheduler = state.scheduler.config
    uid = str(scheduler.uid(user))
    own_group = {"id": uid, "name": user}
    shared = {"id": str(_SHARED_GROUP_ID), "name": state.config.shared_group}
    default = scheduler.accounts[0]
    # Recorded in this order: sacctmgr prints the default account last.
    accounts = [{"name": name, "default": name == default} for name in reversed(scheduler.accounts)]
    return {
        "user": {"id": uid, "name": user},
        "group": own_group,
        "groups": [own_group, shared],
        "accounts": accounts,
    }


def describe_reservation(reservation: Reservation, now: float) -> dict[str, Any]:
    """One reservation; ``now`` in seconds since the epoch decides whether it is active."""
    active = reservation.start_time <= now < reservation.end_time
    return {
        "name": reservation.name,
        "nodeList": reservation.nodes,
        "endTime": reservation.end_time,
        "startTime": reservation.start_time,
        "features": reservation.features or None,
        "state": "active" if active else "inactive",
    }


def _last_check() -> float:
    """When the health check that nobody runs here would have run: every interval."""
    now = time.time()
    return now - now % _HEALTH_INTERVAL


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _system(system: SystemConfig, state: LocalState, checked: float) -> dict[str, Any]:
    config = state.config
    return {
        "name": system.name,
        "ssh": _ssh(config),
        "scheduler": {
            "type": "slurm",
            "connectionMode": "ssh",
            "version": state.scheduler.config.version,
            "apiUrl": None,
            "apiVersion": None,
            "timeout": 10,
        },
        "servicesHealth": _health(state, checked),
        "probing": {
            "services": {
                "ssh": {"timeout": 5},
                "filesystem": {"timeout": 5},
                "scheduler": {"timeout": 5},
                "s3": {"timeout": 20},
            },
            "intervalCheck": _HEALTH_INTERVAL,
        },
        "lastHealthCheck": _iso(checked),
        "fileSystems": [
            {"path": fs.path, "dataType": fs.data_type, "defaultWorkDir": fs.default_work_dir}
            for fs in state.sandbox.file_systems
        ],
        "dataOperation": _data_operation(system, state),
    }


def _ssh(config: LocalConfig) -> dict[str, Any]:
    limit = config.ops_timeout
    return {
        "host": "127.0.0.1",
        "port": 22,
        "proxyHost": None,
        "proxyPort": None,
        "maxClients": 500,
        "timeout": {
            "connection": 5,
            "login": 5,
            "commandExecution": int(limit) if limit == int(limit) else limit,
            "idleTimeout": 60,
            "keepAlive": 5,
        },
    }


def _health(state: LocalState, checked: float) -> list[dict[str, Any]]:
    def healthy(service: str, message: str | None = None, **more: str) -> dict[str, Any]:
        return {
            "serviceType": service,
            "lastChecked": _iso(checked),
            "latency": 0.01,
            "healthy": True,
            "message": message,
            **more,
        }

    return [
        healthy("scheduler", "[{'mode': 'primary', 'hostname': 'localhost', 'pinged': 'UP'}]"),
        healthy("ssh"),
        *(healthy("filesystem", path=fs.path) for fs in state.sandbox.file_systems),
        healthy("s3"),
    ]


def _data_operation(system: SystemConfig, state: LocalState) -> dict[str, Any]:
    account = ["#SBATCH --account={account}"] if system.account_required else []
    return {
        "datatransfer_jobs_directives": [*state.config.transfer_directives, *account],
        "max_ops_file_size": state.config.max_ops_file_size,
        "data_transfer": {
            "serviceType": "s3",
            "name": "s3-storage",
            "privateUrl": _HIDDEN,
            "publicUrl": state.s3_url,
            "accessKeyId": _HIDDEN,
            "secretAccessKey": _HIDDEN,
            "region": "us-east-1",
            "ttl": state.config.url_ttl,
            "tenant": None,
            "multipart": {
                "use_split": False,
                "max_part_size": state.config.max_part_size,
                "parallel_runs": 3,
                "tmp_folder": "tmp",
            },
            "bucketLifecycleConfiguration": {"days": 10},
        },
    }
