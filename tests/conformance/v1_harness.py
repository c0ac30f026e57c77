"""Replaying recorded FirecREST v1 traffic against the local server and comparing the answers.

As `harness` does for v2: requests are translated on the way in, answers are translated back, and what cannot
be equal is masked. Recorded paths that lie outside of every home get a place in the sandbox that is just as
closed to the user.

Every test module that replays v1 recordings says so in two names, ``REPLAYED`` and ``OUT_OF_REACH``;
``test_v1_coverage`` adds them up.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from airflow_provider_firecrest.local import LocalFirecrest

_T = TypeVar("_T")

RECORDINGS = Path(__file__).parents[1] / "recordings" / "v1"
TASK_FINAL = ("200", "400", "114", "117", "118")

_CLOCK = re.compile(r"(\d+-)?(\d+:)?\d+:\d\d")
_MASKS = (
    (re.compile(r"https?://127\.0\.0\.1:\d+(/s3)?/fireuser"), "STORE/fireuser"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SIGNATURE"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "TASK"),
    (re.compile(r"\?X-Amz-[^'\"\s]*"), "?SIGNED"),
    (re.compile(r"eyJ[A-Za-z0-9+/=]+"), "POLICY"),
    (re.compile(r"\d{8}T\d{6}Z"), "STAMP"),
    (re.compile(r"/\d{8}/us-east-1"), "/DATE/us-east-1"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \w+ \d{4}"), "DATE"),
    (re.compile(r"(slurm|job)-\d+(?=[._])"), r"\1-N"),
    (re.compile(r"slurm-N_\d+"), "slurm-N_INDEX"),
    (re.compile(r"\bjob( id)? \d+(?=\D|$)"), r"job\1 N"),
    (re.compile(r"element specified: \d+"), "element specified: N"),
    (re.compile(r"total pages \(\d+\)"), "total pages (N)"),
)
# Values that depend on machine or moment; their type is compared.
VOLATILE = frozenset({"ino", "dev", "nlink", "atime", "ctime", "mtime"})


def names() -> list[str]:
    """Names of all recordings there are."""
    return (RECORDINGS / "MANIFEST.txt").read_text().split()


def matching(*prefixes: str) -> list[str]:
    """Names of the recordings that begin with one of these words (up to a dash, or all of it)."""
    return [name for name in names() if any(name == p or name.startswith(f"{p}-") for p in prefixes)]


@dataclass(frozen=True)
class Recording:
    """One recorded exchange, or the polls of one task; ``content`` is the whole file."""

    name: str
    content: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        return dict(self.content["request"])

    @property
    def response(self) -> dict[str, Any]:
        return dict(self.content["response"])

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The task at each of its statuses."""
        return [poll["json"]["task"] for poll in self.content["sequence"]]


def load(name: str) -> Recording:
    """A recording by its name."""
    return Recording(name, json.loads((RECORDINGS / f"{name}.json").read_text()))


class V1Replayer:
    """Sends recorded requests to the v1 of a local server.

    Args:
        server: the server.
    """

    def __init__(self, server: LocalFirecrest) -> None:
        self.server = server
        self.home = server.home
        self.session = requests.Session()
        homes, scratch = server.root / "home", server.root / "scratch"
        # Recorded path -> real path, longest first.
        self.paths = {
            "/etc/passwd": str(homes / "otheruser" / ".bashrc"),
            "/etc/shadow": str(self.home / ".shadow"),
            "/scratch": str(scratch),
            "/home": str(homes),
            "/root": str(scratch / "otheruser"),
        }
        self.tokens = {
            "fireuser-client": server.mint_token(),
            "plain-fireuser": server.mint_token(),
            "otheruser-client": server.mint_token(claims={"preferred_username": "otheruser"}),
            "ghost-client": server.mint_token(claims={"preferred_username": "ghost"}),
        }

    def close(self) -> None:
        self.session.close()

    def settings(self, **changes: Any) -> None:
        """Change settings of the running server."""
        self.server.control("PUT", "v1", changes)

    def localise(self, value: Any) -> Any:
        """``value`` with recorded paths replaced by real ones, in strings at any depth."""
        if isinstance(value, str):
            pattern = r"(?<![\w./])(/etc/passwd|/etc/shadow|/scratch|/home|/root)(?=/|$)"
            return re.sub(pattern, lambda match: self.paths[match[1]], value)
        return _mapped(value, self.localise)

    def anonymise(self, value: Any) -> Any:
        """``value`` with real paths replaced by recorded ones and everything accidental masked."""
        if isinstance(value, str):
            for recorded in ("/etc/passwd", "/etc/shadow", "/root"):
                value = value.replace(self.paths[recorded], recorded)
            value = value.replace(str(self.server.root), "")
            for pattern, mask in _MASKS:
                value = pattern.sub(mask, value)
            return "CLOCK" if _CLOCK.fullmatch(value) else value
        if isinstance(value, dict):
            return {self.anonymise(key): self._field(key, item) for key, item in value.items()}
        return _mapped(value, self.anonymise)

    def _field(self, key: str, value: Any) -> Any:
        if key == "jobid" and isinstance(value, str):
            return re.sub(r"^\d+", "N", value)
        return self.anonymise(value)

    def send(self, recording: Recording, **changes: Any) -> requests.Response:
        """The local server's answer to the recorded request; ``changes`` replace parts of it."""
        recorded = recording.request
        headers = dict(recorded.get("headers") or {})
        token = self.token_for(headers.pop("Authorization", None), recording.name)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = {
            "method": recorded["method"],
            "url": recorded["url"],
            "params": self.localise(recorded.get("params")),
            "data": self.localise(recorded.get("form")),
            "files": self._files(recorded.get("files")),
            **changes,
        }
        url = self.server.base_url_v1 + request.pop("url")
        headers.update(request.pop("headers", {}))
        return self.session.request(url=url, headers=headers, timeout=120, **request)

    def token_for(self, recorded: str | None, name: str) -> str | None:
        """A token like the recorded one."""
        if recorded is None:
            return None
        if "special" in recorded:
            return special_token(self.server, name)
        match = re.search(r"<(.*) token>", recorded)
        assert match is not None, recorded
        return self.tokens[match[1]]

    def _files(self, recorded: dict[str, Any] | None) -> dict[str, Any] | None:
        if not recorded:
            return None
        name, size, text = recorded["file"]
        content = self.localise(text).encode()
        wanted = int(re.sub(r"\D", "", size))
        # The recorder kept the beginning of large files.
        if wanted > len(text) + 100:
            content = text[:12].encode() + b"#" * (wanted - 12)
        return {"file": (name, content)}

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """A request of our own, authorised, for the machine ``cluster``."""
        headers = {"Authorization": f"Bearer {self.tokens['fireuser-client']}", "X-Machine-Name": "cluster"}
        headers.update(arguments.pop("headers", {}))
        url = self.server.base_url_v1 + path
        return self.session.request(method, url, headers=headers, timeout=120, **arguments)

    def task(self, task_id: str) -> dict[str, Any]:
        """A task, in the single view."""
        return dict(self.call("GET", f"/tasks/{task_id}").json()["task"])

    def statuses(
        self, task_id: str, *, until: tuple[str, ...] = TASK_FINAL, limit: float = 20.0
    ) -> list[dict[str, Any]]:
        """The task at each status it is seen in, up to one of ``until``."""
        seen: list[dict[str, Any]] = []
        deadline = time.monotonic() + limit
        while not seen or seen[-1]["status"] not in until:
            assert time.monotonic() < deadline, (
                f"task {task_id} stays at {seen[-1]['status'] if seen else '?'}"
            )
            task = self.task(task_id)
            if not seen or task["status"] != seen[-1]["status"]:
                seen.append(task)
            time.sleep(0.01)
        return seen

    def result(self, response: requests.Response) -> dict[str, Any]:
        """The final state of the task an answer names."""
        assert response.status_code in (200, 201), response.text
        return self.statuses(response.json()["task_id"])[-1]

    @staticmethod
    def wait_until(probe: Callable[[], _T | None], limit: float, what: str) -> _T:
        """The first value of ``probe`` that is not None."""
        deadline = time.monotonic() + limit
        while (value := probe()) is None:
            assert time.monotonic() < deadline, f"not within {limit} s: {what}"
            time.sleep(0.02)
        return value


def special_token(server: LocalFirecrest, name: str) -> str:
    """The broken token a recording's name speaks of."""
    if "expired" in name:
        return server.mint_token(ttl=-60)
    if "scope" in name:
        return server.mint_token(claims={"scope": "profile email"})
    if "signature" in name:
        head, body, _ = server.mint_token().split(".")
        return f"{head}.{body}.{'A' * 43}"
    return "no-token-at-all"


def check_same_answer(replayer: V1Replayer, recording: Recording, response: requests.Response) -> None:
    """Assert that the answer equals the recorded one in status, error headers and body."""
    expected = recording.response
    assert response.status_code == expected["status"], response.text
    check_error_headers(replayer, recording, response)
    if "json" in expected:
        check_same_json(replayer.anonymise(response.json()), replayer.anonymise(expected["json"]))
    elif "text" in expected:
        assert response.text == expected["text"]


def check_error_headers(replayer: V1Replayer, recording: Recording, response: requests.Response) -> None:
    """Assert that the headers that name a cause are the recorded ones."""
    recorded = {name.lower(): value for name, value in recording.response.get("headers", {}).items()}
    causes = {name: text for name, text in recorded.items() if name.startswith("x-")}
    ours = {name.lower(): text for name, text in response.headers.items() if name.lower().startswith("x-")}
    assert replayer.anonymise(ours) == replayer.anonymise(causes)
    if response.content and "content-type" in recorded:
        assert response.headers["content-type"] == recorded["content-type"]


def check_same_json(got: Any, expected: Any, where: str = "$") -> None:
    """Assert equality, but only equality of types for values under `VOLATILE` keys."""
    if isinstance(expected, dict) and isinstance(got, dict):
        assert sorted(got) == sorted(expected), where
        for key in expected:
            if key in VOLATILE:
                assert type(got[key]) is type(expected[key]), f"{where}.{key}"
            elif key == "size" and _size_is_accidental(expected):
                assert str(got[key]).isdigit(), where
            else:
                check_same_json(got[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(got, list):
        assert len(got) == len(expected), f"{where}: {got}"
        for index, pair in enumerate(zip(got, expected, strict=True)):
            check_same_json(*pair, f"{where}[{index}]")
    else:
        assert got == expected, where


def _size_is_accidental(file: dict[str, Any]) -> bool:
    # A directory's and an archive's size depend on the machine, a link's on the path it points to.
    is_link = file.get("type") == "l" or file.get("mode") == 0o120777
    return file.get("type") == "d" or is_link or str(file.get("name")).endswith(".gz")


def check_same_task(replayer: V1Replayer, recording: Recording, seen: list[dict[str, Any]]) -> None:
    """Assert that a task went through the recorded statuses, and ended with the recorded data.

    A status may be missing on either side when it is quickly over: nobody's polls see all of them.
    """
    statuses, recorded = [task["status"] for task in seen], [task["status"] for task in recording.tasks]
    assert statuses[-1] == recorded[-1], seen[-1]
    assert is_subsequence(recorded, statuses, missing=QUICK), (statuses, recorded)
    assert is_subsequence(statuses, recorded, missing=QUICK), (statuses, recorded)
    check_same_json(replayer.anonymise(seen[-1]), replayer.anonymise(recording.tasks[-1]))


# Over within a fraction of a second, locally or there.
QUICK = ("100", "110", "112", "113", "116")


def is_subsequence(short: list[str], long: list[str], *, missing: tuple[str, ...]) -> bool:
    """Whether ``short`` occurs in ``long`` in order, but for quick statuses."""
    rest: Iterator[str] = iter(long)
    return all(status in rest for status in short if status not in missing)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, list):
        return [change(item) for item in value]
    return value
