"""Both drivers behind one face, so that one test says what holds for either."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_provider_firecrest.client import AsyncFirecrestClient, FirecrestClient, Settings

Call = Callable[[Any], Any]
"""Uses a client: blocking on the one, to be awaited on the other."""


class Blocking:
    """The driver over requests."""

    name = "blocking"

    def one(self, settings: Settings, call: Call) -> Any:
        """Make a client, make one call, close it."""
        with FirecrestClient(settings) as client:
            return call(client)

    def each(self, settings: Settings, calls: list[Call]) -> list[Any]:
        """Make calls one after the other with one client."""
        with FirecrestClient(settings) as client:
            return [call(client) for call in calls]

    def together(self, settings: Settings, call: Call, count: int) -> list[Any]:
        """Make the same call many times at once with one client."""
        start = threading.Barrier(count)

        def run(client: FirecrestClient) -> Any:
            start.wait(30)
            return call(client)

        with FirecrestClient(settings) as client, ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, [client] * count))


class Awaitable:
    """The driver over httpx."""

    name = "awaitable"

    def one(self, settings: Settings, call: Call) -> Any:
        """Make a client, make one call, close it."""

        async def main() -> Any:
            async with AsyncFirecrestClient(settings) as client:
                return await call(client)

        return run(main())

    def each(self, settings: Settings, calls: list[Call]) -> list[Any]:
        """Make calls one after the other with one client."""

        async def main() -> list[Any]:
            async with AsyncFirecrestClient(settings) as client:
                return [await call(client) for call in calls]

        found: list[Any] = run(main())
        return found

    def together(self, settings: Settings, call: Call, count: int) -> list[Any]:
        """Make the same call many times at once with one client."""

        async def main() -> list[Any]:
            async with AsyncFirecrestClient(settings) as client:
                return await asyncio.gather(*(call(client) for _ in range(count)))

        found: list[Any] = run(main())
        return found


def run(coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]) -> Any:
    """Run on a new event loop that is closed at the end."""
    return asyncio.run(coroutine)  # type: ignore[arg-type]


Subject = Blocking | Awaitable
SUBJECTS: list[Subject] = [Blocking(), Awaitable()]
