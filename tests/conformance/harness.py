"""Replaying recorded traffic against the local server and comparing the answers.

A recording speaks of ``/scratch/fireuser``, job 356 and yesterday; the local server of a temporary directory,
job 3 and now. Requests are translated on the way in, answers are translated back and what cannot be equal is
masked.

Every test module beside this one that replays recordings says so in two names: ``REPLAYED``, the names of
the recordings it replays, and ``OUT_OF_REACH``, a dict of those it cannot, with the reason.
``test_v2_coverage`` adds them up.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from airflow_provider_firecrest.local import LocalFirecrest

_T = TypeVar("_T")

RECORDINGS = Path(__file__).parents[1] / "recordings" / "v2"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DATE = re.compile(r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d UTC \d{4}")
# The text ends with file and line of the endpoint in the server's source.
_SOURCE = re.compile(r'file "[^"]+", line \d+')
_SCRIPT_LINE = re.compile(r"/\S+: line \d+: ")
_DD_TIMES = re.compile(r"copied, .* s, .*B/s")
_MASKS = (
    (_UUID, "UUID"),
    (_DATE, "DATE"),
    (_SOURCE, 'file "SOURCE", line N'),
    (_SCRIPT_LINE, "SCRIPT: line N: "),
    (_DD_TIMES, "copied, TIME"),
    (re.compile(r"timeout [\d.]+ "), "timeout N "),
    (re.compile(r"\(id:\d+\)"), "(id:N)"),
    (re.compile(r"ETag: \w+\|"), "ETag: ETAG|"),
    (re.compile(r"\*\*\* JOB \d+ ON \S+ CANCELLED AT \S+"), "*** JOB N ON NODE CANCELLED AT DATE"),
    (re.compile(r"slurmstepd-\S+: "), "slurmstepd-NODE: "),
    (re.compile(r"tmp/[0-9a-f-]{36}/"), "tmp/UUID/"),
    # Presigned URLs: only what is random in them.
    (re.compile(r"http://127\.0\.0\.1:\d+(/s3)?/"), "STORE/"),
    (re.compile(r"uploadId=[^&\s]+"), "uploadId=ID"),
    (re.compile(r"access_key%2F\d+%2F"), "access_key%2FDATE%2F"),
    (re.compile(r"X-Amz-Date=\w+"), "X-Amz-Date=DATE"),
    (re.compile(r"X-Amz-Signature=\w+"), "X-Amz-Signature=SIGNATURE"),
)
# Values that depend on machine, moment or random ids; their type is compared.
VOLATILE = frozenset(
    {"ino", "dev", "nlink", "atime", "ctime", "mtime", "lastModified", "jobId", "uid", "gid", "access_token"}
)


def names() -> list[str]:
    """Names of all recordings there are, those not kept here included."""
    return (RECORDINGS / "MANIFEST.txt").read_text().split()


@dataclass(frozen=True)
class Recording:
    """One recorded exchange; ``content`` is the whole file."""

    name: str
    content: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        return dict(self.content["request"])

    @property
    def response(self) -> dict[str, Any]:
        return dict(self.content["response"])


def load(name: str) -> Recording:
    """A recording by its name."""
    return Recording(name, json.loads((RECORDINGS / f"{name}.json").read_text()))


class Replayer:
    """Sends recorded requests to a local server.

    Args:
        server: the server.
        token: bearer token; None asks the server's token endpoint.
    """

    def __init__(self, server: LocalFirecrest, token: str | None = None) -> None:
        self.server = server
        self.scratch = server.root / "scratch"
        self.home = server.root / "home"
        self.token = token or fetch_token(server)
        self.session = requests.Session()

    def close(self) -> None:
        self.session.close()

    def path(self, recorded: str) -> Path:
        """The real path of a recorded one."""
        return Path(self.localise(recorded))

    def localise(self, value: Any) -> Any:
        """``value`` with recorded paths replaced by real ones, in strings at any depth."""
        if isinstance(value, str):
            value = re.sub(r"(?<![\w.])/scratch(?=/|$)", str(self.scratch), value)
            return re.sub(r"(?<![\w.])/home(?=/|$)", str(self.home), value)
        return _mapped(value, self.localise)

    def anonymise(self, value: Any) -> Any:
        """``value`` with real paths replaced by recorded ones and everything accidental masked."""
        if isinstance(value, str):
            value = value.replace(str(self.server.root), "")
            for pattern, mask in _MASKS:
                value = pattern.sub(mask, value)
            return value
        return _mapped(value, self.anonymise)

    def send(self, recording: Recording, *, files: Any = None, data: Any = None) -> requests.Response:
        """The local server's answer to the recorded request."""
        request = recording.request
        headers = {**request.get("headers", {})}
        if "Authorization" in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        return self.session.request(
            request["method"],
            self.server.base_url + request["path"],
            params=self.localise(request.get("params")),
            json=self.localise(request.get("json")),
            headers=headers,
            files=files,
            data=data,
            timeout=120,
            allow_redirects=False,
        )

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """A request of our own, authorised."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = self.server.base_url + path
        return self.session.request(method, url, headers=headers, timeout=120, **arguments)

    def wait_for_job(self, job_id: str, states: Iterable[str] = (), limit: float = 30.0) -> dict[str, Any]:
        """The scheduler's own record of a job once it is over, or in one of ``states``."""
        wanted = tuple(states) or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
        return self.wait_until(lambda: self._job_in(job_id, wanted), limit, f"job {job_id} in {wanted}")

    def _job_in(self, job_id: str, states: tuple[str, ...]) -> dict[str, Any] | None:
        job = next(job for job in self.server.jobs() if job["id"] == job_id)
        return job if job["state"].startswith(states) else None

    @staticmethod
    def wait_until(probe: Callable[[], _T | None], limit: float, what: str) -> _T:
        """The first value of ``probe`` that is not None."""
        deadline = time.monotonic() + limit
        while (value := probe()) is None:
            assert time.monotonic() < deadline, f"not within {limit} s: {what}"
            time.sleep(0.02)
        return value


def fetch_token(server: LocalFirecrest) -> str:
    """An access token from the token endpoint."""
    form = {
        "grant_type": "client_credentials",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
    }
    response = requests.post(server.token_url, data=form, timeout=10)
    response.raise_for_status()
    return str(response.json()["access_token"])


def check_same_answer(replayer: Replayer, recording: Recording, response: requests.Response) -> None:
    """Assert that the answer equals the recorded one in status, headers that matter, and body."""
    expected = recording.response
    assert response.status_code == expected["status"], response.text
    check_headers(expected, response)
    if "json" in expected:
        got = replayer.anonymise(response.json())
        check_same_json(got, replayer.anonymise(expected["json"]))
    elif "text" in expected:
        assert response.text == expected["text"]


def check_headers(expected: dict[str, Any], response: requests.Response) -> None:
    """Assert that FirecREST's headers are there exactly when they were recorded."""
    recorded = {name.lower(): value for name, value in expected.get("headers", {}).items()}
    for name in ("f7t-timestamp", "f7t-appversion", "x-request-id", "x-correlation-id", "auth-token"):
        assert (name in response.headers) == (name in recorded), name
    for name in ("content-type", "f7t-authusername", "f7t-appversion", "www-authenticate"):
        if name in recorded or name == "f7t-authusername":
            assert response.headers.get(name) == recorded.get(name), name


def check_same_json(got: Any, expected: Any, where: str = "$", volatile: frozenset[str] = VOLATILE) -> None:
    """Assert equality, but only equality of types for values under ``volatile`` keys."""
    if isinstance(expected, dict) and isinstance(got, dict):
        assert sorted(got) == sorted(expected), where
        for key in expected:
            if key in volatile:
                assert type(got[key]) is type(expected[key]), f"{where}.{key}"
            elif key == "size" and _size_is_accidental(expected):
                assert str(got[key]).isdigit(), where
            else:
                check_same_json(got[key], expected[key], f"{where}.{key}", volatile)
    elif isinstance(expected, list) and isinstance(got, list):
        assert len(got) == len(expected), f"{where}: {got}"
        for index, pair in enumerate(zip(got, expected, strict=True)):
            check_same_json(*pair, f"{where}[{index}]", volatile)
    else:
        assert got == expected, where


def _size_is_accidental(file: dict[str, Any]) -> bool:
    # A directory's size is the file system's affair, a link's the length of the path it points to.
    return file.get("type") == "d" or str(file.get("linkTarget")).startswith("/")


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, list):
        return [change(item) for item in value]
    return value
