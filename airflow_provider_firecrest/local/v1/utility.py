"""One call to the utilities service: what all of them check, and how all of them answer.

Knows: the order of the checks and the words around every result. Must not know: single calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.v1 import commands
from airflow_provider_firecrest.local.v1.access import authenticate, machine_of
from airflow_provider_firecrest.local.v1.context import v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error, refused
from airflow_provider_firecrest.local.v1.values import Values, form_values, query_values

_UNKNOWN = "Machine does not exist"


class Utility:
    """A call that has been let in.

    Args:
        request: the request.
        user: who asks.
        machine: where.
        operation: name in the texts: "Error on OPERATION operation".
        values: its query or form.
    """

    def __init__(self, request: Request, user: str, machine: str, operation: str, values: Values) -> None:
        self.v1 = v1_of(request)
        self.user = user
        self.machine = machine
        self.operation = operation
        self.values = values

    def path(self, name: str) -> str:
        """A path among the values, quoted for a command line.

        Raises:
            V1Error: it is missing or malformed, or closed to the user.
        """
        value = self.values.required(name)
        try:
            return commands.inside(self.v1, self.user, value)
        except commands.CommandFailed as error:
            raise self.failure(error) from None

    async def run(self, line: str, *, stdin: bytes | None = None) -> bytes:
        """Standard output of a command on the machine.

        Raises:
            V1Error: it failed; a header says how.
        """
        try:
            return await commands.run(self.v1, self.machine, self.user, line, stdin=stdin)
        except commands.CommandFailed as error:
            raise self.failure(error) from None

    async def text(self, line: str) -> str:
        """The same as text, which it must be.

        Raises:
            V1Error: it failed, or printed something else than UTF-8.
        """
        output = await self.run(line)
        try:
            return output.decode()
        except UnicodeDecodeError as error:
            raise self.failure(commands.CommandFailed(str(error))) from None

    def failure(self, error: commands.CommandFailed) -> V1Error:
        """The answer to a command that failed."""
        return refused(f"Error on {self.operation} operation", error.text, error.header)

    def connect(self) -> None:
        """Open the connection without running anything.

        Raises:
            V1Error: the machine cannot be reached.
        """
        try:
            commands.connect(self.v1, self.machine, self.user)
        except commands.CommandFailed as error:
            raise self.failure(error) from None

    def done(self, output: Any = "", *, status: int = 200, what: str = "file") -> JSONResponse:
        """The answer to a command that succeeded."""
        body = {"description": f"Success to {self.operation} {what}.", "output": output}
        return JSONResponse(body, status_code=status)


def with_query(request: Request, operation: str) -> Utility:
    """A call whose values stand in the query."""
    user, machine = _let_in(request, operation)
    values = query_values(request, f"Error on {operation} operation")
    return Utility(request, user, machine, operation, values)


async def with_form(request: Request, operation: str, description: str | None = None) -> Utility:
    """A call whose values stand in a form; ``description`` starts refusals of a value."""
    user, machine = _let_in(request, operation)
    values = await form_values(request, description or f"Error on {operation} operation")
    return Utility(request, user, machine, operation, values)


def _let_in(request: Request, operation: str) -> tuple[str, str]:
    user = authenticate(request)
    headers: Mapping[str, str] = {"X-Machine-Does-Not-Exist": _UNKNOWN}
    return user, machine_of(request, unknown=refused(f"Error on {operation} operation", _UNKNOWN, headers))
