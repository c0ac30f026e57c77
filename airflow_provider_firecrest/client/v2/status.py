"""FirecREST v2, `/status`: systems, nodes, partitions, reservations and the user."""

from __future__ import annotations

from typing import Any

from ..errors import NotFoundError
from ..flow import Flow, Request
from ..models import Node, Partition, Reservation, System, UserInfo
from .base import Base


class Status(Base):
    """Flows over `/status`."""

    def systems(self) -> Flow[list[System]]:
        """List the systems behind this FirecREST, with their file systems, limits and health.

        :returns: all systems. Costs the server nothing: it answers from its last health check.
        :endpoint: GET /status/systems
        """
        request = Request("GET", "/status/systems")
        return (yield from self._ask(request, lambda body: [System.from_v2(row) for row in body["systems"]]))

    def system_info(self, *, system: str | None = None) -> Flow[System]:
        """Return one system.

        :param system: system name; default: the connection's. Case does not matter to the server.
        :raises NotFoundError: no such system; the message lists those there are.
        :endpoint: GET /status/systems
        """
        wanted = self._system(system)
        systems = yield from self.systems()
        for each in systems:
            if each.name.lower() == wanted.lower():
                return each
        names = ", ".join(each.name for each in systems) or "none"
        raise NotFoundError(f"There is no system {wanted!r} behind this FirecREST; it has: {names}.")

    def nodes(self, *, system: str | None = None) -> Flow[list[Node]]:
        """List the compute nodes.

        :param system: system name; default: the connection's.
        :endpoint: GET /status/{system}/nodes
        """
        request = Request("GET", f"/status/{self._system(system)}/nodes")
        return (yield from self._ask(request, lambda body: [Node.from_v2(row) for row in body["nodes"]]))

    def partitions(self, *, show_hidden: bool = False, system: str | None = None) -> Flow[list[Partition]]:
        """List the partitions.

        :param show_hidden: include hidden ones (newer servers).
        :param system: system name; default: the connection's.
        :endpoint: GET /status/{system}/partitions
        """
        params = {"show_hidden": "true"} if show_hidden else {}
        request = Request("GET", f"/status/{self._system(system)}/partitions", params=params)
        return (
            yield from self._ask(request, lambda body: [Partition.from_v2(row) for row in body["partitions"]])
        )

    def reservations(self, *, system: str | None = None) -> Flow[list[Reservation]]:
        """List the reservations.

        :param system: system name; default: the connection's.
        :endpoint: GET /status/{system}/reservations
        """
        request = Request("GET", f"/status/{self._system(system)}/reservations")
        return (
            yield from self._ask(
                request, lambda body: [Reservation.from_v2(row) for row in body["reservations"]]
            )
        )

    def userinfo(self, *, system: str | None = None) -> Flow[UserInfo]:
        """Return the user on the system that the token stands for, with groups and accounts.

        :param system: system name; default: the connection's.
        :endpoint: GET /status/{system}/userinfo
        """
        request = Request("GET", f"/status/{self._system(system)}/userinfo")
        return (yield from self._ask(request, UserInfo.from_v2))

    def liveness(self) -> Flow[dict[str, Any]]:
        """Return when the server last looked at its systems.

        :endpoint: GET /status/liveness/ (without the last slash the server redirects)
        """
        return (yield from self._ask(Request("GET", "/status/liveness/"), dict))
