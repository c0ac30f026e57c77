"""``/reservations``: the only v1 service for jobs that answers at once.

Knows: request shapes, texts, and who may have which nodes when. Must not know: how jobs use reservations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.slurm import Reservation
from airflow_provider_firecrest.local.v1.access import Reach, authenticate, machine_of, reach
from airflow_provider_firecrest.local.v1.cluster import moment, state_of
from airflow_provider_firecrest.local.v1.context import V1, v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error, refused
from airflow_provider_firecrest.local.v1.values import form_values, has_forbidden

_UNKNOWN = "Machine does not exist"
_CREATING, _UPDATING = "Error creating reservation", "Error updating reservation"
_DELETING, _LISTING = "Error deleting reservation", "Error listing reservation"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True)
class Booking:
    """What the scheduler's reservation does not say."""

    account: str
    owner: str
    node_count: int


def reservations_router() -> APIRouter:
    """Routes under ``/reservations``; needs ``app.state.v1``."""
    router = APIRouter()
    for path in ("/reservations", "/reservations/"):
        router.get(path)(get_reservations)
        router.post(path)(post_reservation)
    router.put("/reservations/{name}")(put_reservation)
    router.delete("/reservations/{name}")(delete_reservation)
    return router


def _let_in(request: Request, doing: str) -> tuple[V1, str]:
    user = authenticate(request)
    unknown = V1Error({"error": doing}, headers={"X-Machine-Does-Not-Exist": _UNKNOWN})
    missing = refused("No machine name given", doing)
    machine, v1 = machine_of(request, missing=missing, unknown=unknown), v1_of(request)
    reached = reach(v1, machine, user)
    if reached is not Reach.OPEN:
        raise refused(reached.value, f"{doing}s" if doing == _LISTING else doing)
    return v1, user


def get_reservations(request: Request) -> dict[str, Any]:
    """All reservations."""
    v1, _ = _let_in(request, _LISTING)
    return {"success": [_row(v1, reservation) for reservation in v1.local.scheduler.config.reservations]}


def _row(v1: V1, reservation: Reservation) -> dict[str, str]:
    booking = v1.reservations.get(reservation.name)
    config, seconds = v1.local.scheduler.config, reservation.end_time - reservation.start_time
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    node_count = booking.node_count if booking else 1
    return {
        "accounts": booking.account if booking else "(null)",
        "burstbuffer": "(null)",
        "corecnt": str(config.cpus // len(config.nodes) * node_count),
        "duration": f"{days}-{clock}" if days else clock,
        "endtime": moment(reservation.end_time),
        "features": reservation.features,
        "flags": "",
        "groups": "(null)",
        "licenses": "(null)",
        "maxstartdelay": "(null)",
        "nodecnt": str(node_count),
        "nodes": reservation.nodes,
        "partitionname": config.default_partition.name,
        "reservationname": reservation.name,
        "starttime": moment(reservation.start_time),
        "state": state_of(reservation),
        "users": "(null)",
        "watts": "n/a",
    }


async def post_reservation(request: Request) -> JSONResponse:
    """Make a reservation for an account; jobs may name it from then on."""
    v1, user = _let_in(request, _CREATING)
    form = (await form_values(request, _CREATING)).texts
    fields = ("reservation", "account", "numberOfNodes", "nodeType", "starttime", "endtime")
    _check_form(form, fields, _CREATING)
    wanted = _reservation(v1, form["reservation"], form, _CREATING)
    if form["account"] not in v1.local.config.accounts:
        raise refused(f"You are not a member of the {form['account']} project", _CREATING)
    _check_free(v1, wanted, form, "Error creating the reservation", _CREATING)
    v1.reservations[wanted.name] = Booking(form["account"], user, int(form["numberOfNodes"]))
    _publish(v1, wanted.name, wanted)
    return JSONResponse({"success": f"Reservation created: {wanted.name}"}, status_code=201)


async def put_reservation(request: Request, name: str) -> JSONResponse:
    """Change nodes or times of a reservation."""
    v1, user = _let_in(request, _UPDATING)
    form = (await form_values(request, _UPDATING)).texts
    _check_form(form, ("numberOfNodes", "nodeType", "starttime", "endtime"), _UPDATING)
    wanted = _reservation(v1, name, form, _UPDATING)
    booking = _owned(v1, name, user, _UPDATING)
    _check_free(v1, wanted, form, "Error updating the reservation", _UPDATING)
    v1.reservations[name] = replace(booking, node_count=int(form["numberOfNodes"]))
    _publish(v1, name, wanted)
    return JSONResponse({"success": "Reservation updated."})


def delete_reservation(request: Request, name: str) -> Response:
    """End a reservation."""
    v1, user = _let_in(request, _DELETING)
    _owned(v1, name, user, _DELETING)
    del v1.reservations[name]
    _publish(v1, name, None)
    return Response(status_code=204, media_type="application/json")


def _check_form(form: Mapping[str, str], names: tuple[str, ...], doing: str) -> None:
    for name in names:
        if not form.get(name):
            raise refused(f"'{name}' form data input missing", doing)
        if has_forbidden(form[name]):
            raise refused(f"'{name}' has invalid char", doing)
    if not form["numberOfNodes"].isdecimal():
        raise refused(f"'numberOfNodes' is not a number ({form['numberOfNodes']})", doing)


def _reservation(v1: V1, name: str, form: Mapping[str, str], doing: str) -> Reservation:
    start, end = _moment(form, "starttime", doing), _moment(form, "endtime", doing)
    if start < time.time():
        # Their spelling.
        raise refused(f"'starttime' is in the pass (values entered: starttime='{form['starttime']}')", doing)
    if end <= start:
        raise refused(f"'endtime' is before 'starttime' (values entered: endtime='{form['endtime']}')", doing)
    nodes = v1.local.scheduler.config.nodes[: int(form["numberOfNodes"])]
    return Reservation(name, ",".join(nodes), start, end, form["nodeType"], (name,))


def _moment(form: Mapping[str, str], name: str, doing: str) -> int:
    try:
        return int(datetime.strptime(form[name], _TIME_FORMAT).timestamp())
    except ValueError:
        raise refused(f"'{name}' has a wrong format (value entered: {form[name]})", doing) from None


def _check_free(v1: V1, wanted: Reservation, form: Mapping[str, str], text: str, doing: str) -> None:
    """Refuse more nodes than are left in that time, or of a kind there is not."""
    config = v1.local.scheduler.config
    taken = sum(
        v1.reservations[other.name].node_count if other.name in v1.reservations else 1
        for other in config.reservations
        if other.start_time < wanted.end_time
        and wanted.start_time < other.end_time
        and not (doing == _UPDATING and other.name == wanted.name)
    )
    if int(form["numberOfNodes"]) > len(config.nodes) - taken or form["nodeType"] not in config.features:
        raise refused(f"{text}: Requested node configuration is not available", doing)


def _owned(v1: V1, name: str, user: str, doing: str) -> Booking:
    booking = v1.reservations.get(name)
    if not isinstance(booking, Booking) or booking.owner != user:
        raise refused(f"You are not an owner of the {name} reservation", doing)
    return booking


def _publish(v1: V1, name: str, reservation: Reservation | None) -> None:
    """Tell the scheduler, so that jobs can use it."""
    scheduler = v1.local.scheduler
    others = tuple(known for known in scheduler.config.reservations if known.name != name)
    mine = () if reservation is None else (reservation,)
    scheduler.config = replace(scheduler.config, reservations=(*others, *mine))
