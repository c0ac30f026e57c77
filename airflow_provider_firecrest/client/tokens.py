"""The current token of each login, and the lock that lets one at a time renew it.

Knows threads, event loops and the time; not where tokens come from (`auth`) nor how they are asked for (the
drivers).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Hashable, Iterator

from .auth import Auth, Token

_RENEWAL_PATIENCE = 60.0
"""Seconds to wait for somebody else's renewal; then ask as well, rather than hang on a stuck one."""
_RENEWAL_LOOK = 0.02


class TokenCache:
    """The current token of one login, shared by all clients of the process.

    One lock makes renewals single-flight among threads, event loops and clients.
    """

    def __init__(self) -> None:
        self._renewal = threading.Lock()
        self._token: Token | None = None

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Be the only one who renews; look at :meth:`current` again inside."""
        held = self._renewal.acquire(timeout=_RENEWAL_PATIENCE)
        try:
            yield
        finally:
            if held:
                self._renewal.release()

    @contextlib.asynccontextmanager
    async def renewing_async(self) -> AsyncIterator[None]:
        """The same for an event loop, which must not stand still meanwhile."""
        deadline = time.monotonic() + _RENEWAL_PATIENCE
        held = self._renewal.acquire(blocking=False)
        while not held and time.monotonic() < deadline:
            await asyncio.sleep(_RENEWAL_LOOK)
            held = self._renewal.acquire(blocking=False)
        try:
            yield
        finally:
            if held:
                self._renewal.release()

    def current(self, rejected: str | None = None) -> str | None:
        """Return the token unless it is due for renewal or is the one just rejected with 401."""
        token = self._token
        if token is None or token.renew_at <= time.time() or token.value == rejected:
            return None
        return token.value

    def store(self, token: Token) -> str:
        self._token = token
        return token.value


_caches: dict[Hashable, TokenCache] = {}
_caches_lock = threading.Lock()


def shared_cache(auth: Auth) -> TokenCache:
    """Return the process's token cache for a login."""
    with _caches_lock:
        return _caches.setdefault(auth.identity(), TokenCache())
