"""Secrets that must outlive a deferral, sealed with Airflow's own Fernet key.

Events and XComs are stored in clear text and shown in the UI. Must not know what the secret is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from .._compat import fernet


def seal(values: Mapping[str, Any]) -> str | None:
    """Return the values as a text that only a holder of the key can read, or None where no key is
    configured.
    """
    key = fernet()
    if key is None:
        return None
    # A thousand presigned URLs differ in little but their signatures.
    sealed: bytes = key.encrypt(zlib.compress(json.dumps(values).encode()))
    return sealed.decode("ascii")


def unseal(text: str) -> dict[str, Any] | None:
    """Return the values, or None where the key is missing or another one."""
    from cryptography.fernet import InvalidToken

    key = fernet()
    if key is None:
        return None
    try:
        values: dict[str, Any] = json.loads(zlib.decompress(key.decrypt(text.encode("ascii"))))
    except (InvalidToken, zlib.error):
        return None
    return values
