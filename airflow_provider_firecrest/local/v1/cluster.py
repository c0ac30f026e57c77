"""Nodes, partitions and reservations in v1's words.

Knows: the keys scontrol's output is turned into. Must not know: HTTP, jobs.
"""

from __future__ import annotations

import re
import time
import unicodedata
from datetime import datetime
from typing import Any

from airflow_provider_firecrest.local.slurm import Reservation, Scheduler
from airflow_provider_firecrest.local.slurm.views import cpus_in_use
from airflow_provider_firecrest.local.v1.tasks import TaskFailed


def safe_name(name: str) -> str:
    """Name an uploaded script is stored under: ASCII letters, digits, ``._-``; blanks become ``_``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    words = "_".join(plain.replace("/", " ").split())
    return re.sub(r"[^A-Za-z0-9_.-]", "", words).strip("._") or "script.batch"


def nodes(scheduler: Scheduler, wanted: str | None) -> list[dict[str, Any]]:
    """Nodes with their state.

    Raises:
        TaskFailed: a wanted one does not exist.
    """
    config = scheduler.config
    names = _chosen("Node", wanted, config.nodes)
    per_node = max(config.cpus // len(config.nodes), 1)
    used = min(-(-cpus_in_use(scheduler) // len(config.nodes)), per_node)
    state = "IDLE" if not used else "ALLOCATED" if used == per_node else "MIXED"
    return [
        {
            "ActiveFeatures": list(config.features),
            "NodeName": name,
            "Partitions": [partition.name for partition in config.partitions],
            "State": [state],
        }
        for name in names
    ]


def partitions(scheduler: Scheduler, wanted: str | None) -> list[dict[str, str]]:
    """Partitions, sizes as text.

    Raises:
        TaskFailed: a wanted one does not exist.
    """
    config = scheduler.config
    names = _chosen("Partition", wanted, tuple(partition.name for partition in config.partitions))
    return [
        {
            "Default": "YES" if name == config.default_partition.name else "NO",
            "PartitionName": name,
            "State": "UP",
            "TotalCPUs": str(config.cpus),
            "TotalNodes": str(len(config.nodes)),
        }
        for name in names
    ]


def reservations(scheduler: Scheduler, wanted: str | None) -> list[dict[str, Any]]:
    """Reservations, active or not.

    Raises:
        TaskFailed: a wanted one does not exist.
    """
    known = {reservation.name: reservation for reservation in scheduler.config.reservations}
    return [
        {
            "EndTime": moment(known[name].end_time),
            "Features": known[name].features.split("&") if known[name].features else [],
            "Nodes": known[name].nodes,
            "ReservationName": name,
            "StartTime": moment(known[name].start_time),
            "State": state_of(known[name]),
        }
        for name in _chosen("Reservation", wanted, tuple(known))
    ]


def state_of(reservation: Reservation) -> str:
    """Whether a reservation is in force now."""
    return "ACTIVE" if reservation.start_time <= time.time() < reservation.end_time else "INACTIVE"


def moment(seconds: int) -> str:
    """A moment as Slurm prints it: local time, no zone."""
    return datetime.fromtimestamp(seconds).isoformat(timespec="seconds")


def _chosen(what: str, wanted: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if wanted is None:
        return known
    names = tuple(wanted.split(","))
    missing = [name for name in names if name not in known]
    if missing:
        raise TaskFailed(f"{what} {missing[0]} not found")
    return names
