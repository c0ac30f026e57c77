"""What a task remembers of a transfer from one try to the next, in Airflow's task state store (3.3).

Knows the store, and how a state with presigned URLs is kept in it: sealed with Airflow's Fernet key; without
a key, the URLs are left out, and what cannot be done without them is done anew. Must not know what a state
means (``client.transfers`` does). Without a store, every try starts anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._seal import seal, unseal

if TYPE_CHECKING:
    from ..client.attempts import Attempt
    from ..client.transfers import StagedDownload, UploadState

STATE_KEY = "firecrest_transfer"
"""Key in the store: whose transfer it is, the server's job, and the state, sealed."""

STEPS_KEY = "firecrest_steps"
"""Key in the store: whose transfer in steps it is, how far it is, and, sealed, its URL."""

PARTS_KEY = "firecrest_transfer_parts"
"""Key in the store: ETags of the parts that are sent. Apart from the state, since it changes with each."""

_SECRETS: dict[str, Any] = {
    "part_urls": [],
    "complete_url": "",
    "form_url": "",
    "form_fields": {},
    "url": None,
}
"""Fields of the states that are credentials, and what stands for them where they cannot be sealed."""

_FORMAT = 1
"""Of what is kept; a state that another version left in another format is not gone on with."""

_SHARE = 5.0
"""A store that takes long is written to less often: not before so many times its own time has passed."""


@dataclass(frozen=True)
class KnownSteps:
    """What was remembered of a transfer in steps.

    :ivar values: plain JSON.
    :ivar secret: what was sealed; None where there was nothing, or where it cannot be read here.
    :ivar is_ours: it is of this attempt; else another one gave it up.
    """

    values: dict[str, Any]
    secret: dict[str, Any] | None
    is_ours: bool


class TransferMemory:
    """The memory of one task instance.

    :param store: Airflow's task state store, or None.
    :param attempt: the logical attempt; what another one left is not gone on with.
    :param first_try: nothing can have been left.
    """

    def __init__(self, store: Any, attempt: Attempt, *, first_try: bool, log: Any) -> None:
        self.attempt, self.first_try, self.log = attempt, first_try, log
        self._store = store
        self._kept: dict[str, Any] | None = None
        self._parts_due = 0.0

    @property
    def keeps(self) -> bool:
        """Whether a later try will find what is remembered, the URLs among it."""
        return self._store is not None and seal({}) is not None

    def known(self, abandon: Callable[[str, str, dict[str, Any] | None], None]) -> dict[str, Any] | None:
        """Return the state that this attempt's earlier try left, or None.

        :param abandon: called with job id and system of a job that another attempt left, and with its state
            if that can be read: a clear gave it up.
        """
        found = None if self.first_try else self._get(STATE_KEY)
        if not isinstance(found, dict):
            return None
        if (found.get("mark"), found.get("format")) != (self.attempt.mark, _FORMAT):
            if found.get("job_id"):
                readable = found.get("format") == _FORMAT
                state = self._opened(found) if readable else None
                abandon(str(found["job_id"]), str(found["system"]), state)
            self.forget()
            return None
        state = self._opened(found)
        parts = self._get(PARTS_KEY)
        if isinstance(parts, dict) and parts.get("job_id") == found.get("job_id") and "parts" in state:
            state["parts"] = parts["etags"]
        return state

    def keep_upload(self, state: UploadState) -> None:
        """Remember how far an upload has got."""
        values = state.as_dict()
        parts = values.pop("parts")
        if values == self._kept:
            self._keep_parts(state.job_id, parts)
            return
        if parts:
            self._keep_parts(state.job_id, parts, at_once=True)
        self._keep({**values, "parts": {}})
        self._kept = values

    def keep_download(self, staged: StagedDownload) -> None:
        """Remember what the server was asked to stage."""
        self._keep(staged.as_dict())

    def keep_steps(self, values: Mapping[str, Any], secret: Mapping[str, Any] | None) -> None:
        """Remember how far a transfer in steps has got.

        :param values: plain JSON, no credential in it.
        :param secret: what has to be sealed.
        """
        sealed = seal(secret) if secret is not None and self._store is not None else None
        kept = {"mark": self.attempt.mark, "format": _FORMAT, "state": dict(values), "sealed": sealed}
        self._set(STEPS_KEY, kept)

    def known_steps(self) -> KnownSteps | None:
        """Return how far a transfer in steps had got, in whichever attempt, or None."""
        found = None if self.first_try else self._get(STEPS_KEY)
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            return None
        secret = unseal(found["sealed"]) if found.get("sealed") else None
        return KnownSteps(dict(found["state"]), secret, found.get("mark") == self.attempt.mark)

    def forget(self) -> None:
        """Remember nothing any more: the transfer is over."""
        self._delete(STATE_KEY, PARTS_KEY, STEPS_KEY)

    def forget_steps(self) -> None:
        """Remember nothing more of a transfer in steps."""
        self._delete(STEPS_KEY)

    def _delete(self, *keys: str) -> None:
        if self._store is None:
            return
        for key in keys:
            try:
                self._store.delete(key)
            except Exception as error:
                self._complain("emptied", error)

    def _keep(self, values: dict[str, Any]) -> None:
        open_values = {name: _SECRETS.get(name, value) for name, value in values.items()}
        kept = {
            "mark": self.attempt.mark,
            "format": _FORMAT,
            "job_id": values["job_id"],
            "system": values["system"],
            "state": open_values,
            "sealed": seal(values) if open_values != values and self._store is not None else None,
        }
        self._set(STATE_KEY, kept)

    def _keep_parts(self, job_id: str | None, etags: Mapping[str, str], *, at_once: bool = False) -> None:
        began = time.monotonic()
        if began < self._parts_due and not at_once:
            return
        self._set(PARTS_KEY, {"job_id": job_id, "etags": dict(etags)})
        ended = time.monotonic()
        self._parts_due = ended + _SHARE * (ended - began)

    @staticmethod
    def _opened(found: Mapping[str, Any]) -> dict[str, Any]:
        secret = unseal(found["sealed"]) if found.get("sealed") else None
        return dict(secret if secret is not None else found["state"])

    def _get(self, key: str) -> Any:
        if self._store is None:
            return None
        try:
            return self._store.get(key)
        except Exception as error:
            self._complain("read", error)
            return None

    def _set(self, key: str, value: Mapping[str, Any]) -> None:
        if self._store is None:
            return
        try:
            self._store.set(key, value)
        except Exception as error:
            self._complain("written", error)

    def _complain(self, what: str, error: Exception) -> None:
        # Only a shortcut is lost: a later try starts anew.
        self.log.info("Airflow's task state store cannot be %s: %s", what, type(error).__name__)
