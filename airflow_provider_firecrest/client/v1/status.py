"""FirecREST v1, `/status` and what v2 has under it: systems, services, parameters, nodes, partitions,
reservations, user.

The server keeps these pages for sixteen minutes and shares them among users; `Cache-Control: no-cache` gets
the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import NotFoundError, UnavailableError
from ..flow import Flow, Kind, Request
from ..models import FileSystem, Node, Partition, Reservation, ServiceHealth, System, UserInfo
from .tasks import Tasks

FORM_OVERHEAD = 1024
"""Bytes by which a file must stay below the server's limit: it counts the whole multipart body."""

_FRESH = {"Cache-Control": "no-cache"}


class Status(Tasks):
    """Flows over `/status`, `/reservations` and the parts of `/compute` that describe the machine."""

    def services(self) -> Flow[list[ServiceHealth]]:
        """List FirecREST's own services and whether they are up.

        :endpoint: GET /status/services
        """
        request = Request("GET", "/status/services", headers=_FRESH)
        return (yield from self._ask(request, lambda body: [_service(row) for row in body["out"]]))

    def parameters(self) -> Flow[dict[str, Any]]:
        """Return the server's parameters by name (`UTILITIES_MAX_FILE_SIZE`, `FILESYSTEMS`, ...), in the
        server's units.

        :endpoint: GET /status/parameters
        """
        request = Request("GET", "/status/parameters", headers=_FRESH)
        return (yield from self._ask(request, _parameters))

    def service_file_systems(self, *, system: str | None = None) -> Flow[list[ServiceHealth]]:
        """List a machine's file systems and whether they can be reached.

        :param system: machine name; default: the connection's.
        :endpoint: GET /status/filesystems/{machine}
        """
        request = Request("GET", f"/status/filesystems/{self._system(system)}", headers=_FRESH)
        return (yield from self._ask(request, lambda body: [_file_system(row) for row in body["out"]]))

    def systems(self) -> Flow[list[System]]:
        """List the machines, with their file systems and limits.

        :endpoint: GET /status/systems, GET /status/parameters
        """
        request = Request("GET", "/status/systems", headers=_FRESH)
        rows = yield from self._ask(request, lambda body: [dict(row) for row in body["out"]])
        parameters = yield from self.parameters()
        return [_system(row, parameters) for row in rows]

    def system_info(self, *, system: str | None = None) -> Flow[System]:
        """Return one machine.

        :param system: machine name; default: the connection's.
        :raises NotFoundError: no such machine; the message lists those there are.
        :endpoint: GET /status/systems, GET /status/parameters
        """
        wanted = self._machine(system)["X-Machine-Name"]
        systems = yield from self.systems()
        for each in systems:
            if each.name == wanted:
                return each
        names = ", ".join(each.name for each in systems) or "none"
        raise NotFoundError(f"There is no system {wanted!r} behind this FirecREST; it has: {names}.")

    def nodes(self, *, system: str | None = None) -> Flow[list[Node]]:
        """List the compute nodes.

        :param system: machine name; default: the connection's.
        :endpoint: GET /compute/nodes (scontrol show node)
        """
        request = self._get("/compute/nodes", system)
        return (
            yield from self._ask_task(
                request, "Listing nodes", lambda rows: [_node(row) for row in rows or ()]
            )
        )

    def partitions(self, *, show_hidden: bool = False, system: str | None = None) -> Flow[list[Partition]]:
        """List the partitions.

        :param show_hidden: v1 lists all there are anyway.
        :param system: machine name; default: the connection's.
        :endpoint: GET /compute/partitions (scontrol show partition)
        """
        request = self._get("/compute/partitions", system)
        return (
            yield from self._ask_task(
                request, "Listing partitions", lambda rows: [_partition(row) for row in rows or ()]
            )
        )

    def reservations(self, *, system: str | None = None) -> Flow[list[Reservation]]:
        """List the reservations.

        :param system: machine name; default: the connection's.
        :endpoint: GET /compute/reservations (scontrol show reservation)
        """
        request = self._get("/compute/reservations", system)
        return (
            yield from self._ask_task(
                request, "Listing reservations", lambda rows: [_reservation(row) for row in rows or ()]
            )
        )

    def managed_reservations(self, *, system: str | None = None) -> Flow[list[dict[str, Any]]]:
        """List the reservations that the account may manage, as the server has them.

        :param system: machine name; default: the connection's.
        :endpoint: GET /reservations
        """
        return (
            yield from self._ask(
                self._get("/reservations", system), lambda body: [dict(row) for row in body["success"]]
            )
        )

    def create_reservation(
        self,
        name: str,
        *,
        account: str,
        number_of_nodes: int,
        node_type: str,
        start_time: str,
        end_time: str,
        system: str | None = None,
    ) -> Flow[None]:
        """Create a reservation.

        :param name: its name.
        :param account: Slurm account it is for.
        :param number_of_nodes: nodes.
        :param node_type: node feature.
        :param start_time: ``YYYY-MM-DDTHH:MM:SS``, the machine's local time.
        :param end_time: the same.
        :param system: machine name; default: the connection's.
        :endpoint: POST /reservations
        """
        form = {"reservation": name, "account": account} | _span(
            number_of_nodes, node_type, start_time, end_time
        )
        yield self._send("POST", "/reservations", system, Kind.CREATE, form)

    def update_reservation(
        self,
        name: str,
        *,
        number_of_nodes: int,
        node_type: str,
        start_time: str,
        end_time: str,
        system: str | None = None,
    ) -> Flow[None]:
        """Change a reservation.

        :param name: its name.
        :param number_of_nodes: nodes.
        :param node_type: node feature.
        :param start_time: ``YYYY-MM-DDTHH:MM:SS``, the machine's local time.
        :param end_time: the same.
        :param system: machine name; default: the connection's.
        :endpoint: PUT /reservations/{name}
        """
        form = _span(number_of_nodes, node_type, start_time, end_time)
        yield self._send("PUT", f"/reservations/{_segment(name)}", system, Kind.IDEMPOTENT, form)

    def delete_reservation(self, name: str, *, system: str | None = None) -> Flow[None]:
        """Delete a reservation.

        :param name: its name.
        :param system: machine name; default: the connection's.
        :endpoint: DELETE /reservations/{name}
        """
        yield self._send("DELETE", f"/reservations/{_segment(name)}", system, Kind.IDEMPOTENT)

    def userinfo(self, *, system: str | None = None) -> Flow[UserInfo]:
        """Return the user on the machine that the token stands for, with groups. v1 does not tell Slurm
        accounts.

        :param system: machine name; default: the connection's.
        :endpoint: GET /utilities/whoami?groups=true
        """
        request = self._get("/utilities/whoami", system, groups="true")
        return (yield from self._ask(request, lambda body: _user(body["output"])))

    def liveness(self) -> Flow[dict[str, Any]]:
        """Return the state of FirecREST's services by name.

        :raises UnavailableError: one is down.
        :endpoint: GET /status/services
        """
        services = yield from self.services()
        down = [each.service for each in services if not each.healthy]
        if down:
            raise UnavailableError(f"FirecREST's services {', '.join(down)} are down.")
        return {each.service: "available" for each in services}


def _service(row: Mapping[str, Any]) -> ServiceHealth:
    return ServiceHealth(str(row.get("service")), row.get("status") == "available", row.get("description"))


def _file_system(row: Mapping[str, Any]) -> ServiceHealth:
    healthy = row.get("status") == "available"
    return ServiceHealth("filesystem", healthy, row.get("description"), row.get("path"))


def _parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    return {str(row["name"]): row.get("value") for rows in body["out"].values() for row in rows}


def _system(row: Mapping[str, Any], parameters: Mapping[str, Any]) -> System:
    name = str(row["system"])
    listed = parameters.get("FILESYSTEMS") or ()
    mounts = next((each["mounted"] for each in listed if each.get("system") == name), ())
    megabytes = float(parameters.get("UTILITIES_MAX_FILE_SIZE") or 5)
    health = ServiceHealth("system", row.get("status") == "available", row.get("description"))
    return System(
        name=name,
        scheduler=str(parameters.get("WORKLOAD_MANAGER") or "Slurm").lower(),
        file_systems=tuple(FileSystem(str(path)) for path in mounts),
        health=(health,),
        max_ops_file_size=int(megabytes * 1024 * 1024) - FORM_OVERHEAD,
        transfer_method="s3" if str(parameters.get("OBJECT_STORAGE") or "").startswith("s3") else None,
        max_part_size=int(float(parameters.get("STORAGE_MAX_FILE_SIZE") or 5120) * 1024 * 1024),
    )


def _node(row: Mapping[str, Any]) -> Node:
    return Node(
        name=str(row.get("NodeName")),
        states=tuple(row.get("State") or ()),
        partitions=tuple(row.get("Partitions") or ()),
        features=",".join(row.get("ActiveFeatures") or ()) or None,
    )


def _partition(row: Mapping[str, Any]) -> Partition:
    return Partition(
        str(row.get("PartitionName")),
        (str(row.get("State")),),
        _int(row, "TotalCPUs"),
        _int(row, "TotalNodes"),
    )


def _reservation(row: Mapping[str, Any]) -> Reservation:
    known = {str(key).lower(): value for key, value in row.items()}
    return Reservation(
        name=str(known.get("reservationname")),
        nodes=known.get("nodes"),
        state=known.get("state"),
        features=known.get("features"),
    )


def _user(output: Any) -> UserInfo:
    if isinstance(output, str):
        return UserInfo(output)
    return UserInfo.from_v2(output)


def _span(nodes: int, node_type: str, start: str, end: str) -> dict[str, Any]:
    return {"numberOfNodes": nodes, "nodeType": node_type, "starttime": start, "endtime": end}


def _segment(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _int(row: Mapping[str, Any], key: str) -> int | None:
    value = str(row.get(key) or "")
    return int(value) if value.isdigit() else None
