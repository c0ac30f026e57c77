"""Comparing jobs with recorded jobs: what must be equal, what can only be of the same kind.

States, codes, reasons, names, nodes and limits must be equal. Ids become roles; moments and durations only
have to be there, or not be there, as recorded: a null start means something.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import requests

from tests.conformance.harness import Recording, Replayer, check_headers, load

ACTIVE = ("PENDING", "RUNNING", "SUSPENDED")


class Cluster:
    """A local server seen through recordings of jobs.

    Args:
        replayer: sends requests as the usual user.
    """

    def __init__(self, replayer: Replayer) -> None:
        self.replayer = replayer
        self.server = replayer.server
        self.jobs_dir = replayer.path("/scratch/fireuser/jobs")
        self.jobs_dir.mkdir(exist_ok=True)
        (self.jobs_dir / "ro").mkdir(exist_ok=True)
        (self.jobs_dir / "ro").chmod(0o555)
        (self.jobs_dir / "in.txt").write_text("input\n")
        (self.jobs_dir / "s.sh").write_text("#!/bin/bash\n#SBATCH -J frompath\necho path $0 $FOO\npwd\n")

    def submit(self, name: str, change: Callable[[str], str] = str, **fields: Any) -> str:
        """Send a recorded submission, its script changed; returns the job's id."""
        job = self.replayer.localise(load(name).request["json"]["job"])
        job = {**job, **({"script": change(job["script"])} if job.get("script") else {}), **fields}
        response = self.replayer.call("POST", "/compute/cluster/jobs", json={"job": job})
        assert response.status_code == 201, response.text
        return str(response.json()["jobId"])

    def ask(self, name: str, job_id: str, token: str | None = None) -> requests.Response:
        """Send a recorded request about a job, with the id of one of ours."""
        request = load(name).request
        path = re.sub(r"/jobs/\d+", f"/jobs/{job_id}", request["path"])
        headers = {"Authorization": f"Bearer {token or self.replayer.token}"}
        return requests.request(
            request["method"],
            self.server.base_url + path,
            params=request.get("params"),
            json=self.replayer.localise(request.get("json")),
            headers=headers,
            timeout=30,
        )

    def wait(self, job_id: str, *states: str) -> None:
        """Until every task of the job is in one of the states (default: over, its processes too)."""

        def reached() -> bool | None:
            tasks = self.tasks(job_id)
            if states:
                return all(task["state"] in states for task in tasks) or None
            return all(task["state"] not in ACTIVE and not task["processes_left"] for task in tasks) or None

        self.replayer.wait_until(reached, 20, f"job {job_id} in {states or 'a final state'}")

    def tasks(self, job_id: str) -> list[dict[str, Any]]:
        """What the scheduler itself says about a job or an array."""
        return [task for task in self.server.jobs() if job_id in (task["id"], task["array_id"])]

    def other_users_token(self) -> str:
        """A token of the second user."""
        wish = {"claims": {"preferred_username": "otheruser"}}
        return str(self.server.control("POST", "tokens", wish)["access_token"])

    def cancel_everything(self) -> None:
        """Leave no job active."""
        for task in self.server.jobs():
            if task["state"] in ACTIVE:
                owner = self.replayer.token if task["user"] == "fireuser" else self.other_users_token()
                job_id = task["array_id"] or task["id"]
                headers = {"Authorization": f"Bearer {owner}"}
                url = f"{self.server.base_url}/compute/cluster/jobs/{job_id}"
                requests.delete(url, headers=headers, timeout=30)


def check_same_jobs(
    replayer: Replayer, response: requests.Response, name: str, job_id: str, *, ignore: tuple[str, ...] = ()
) -> None:
    """Assert that the answer has the recorded rows, in any order."""
    recording = load(name)
    assert response.status_code == recording.response["status"], response.text
    check_headers(recording.response, response)
    recorded_id = recorded_job_id(recording)
    got = [role_row(row, job_id, ignore) for row in replayer.anonymise(response.json())["jobs"]]
    expected = [role_row(row, recorded_id, ignore) for row in recording.response["json"]["jobs"]]
    assert sorted(got, key=str) == sorted(expected, key=str)


def recorded_job_id(recording: Recording) -> str:
    """Id of the job, or array, a recorded answer is about."""
    return str(recording.response["json"]["jobs"][0]["jobId"]).split("_")[0]


def role_row(row: dict[str, Any], job_id: str, ignore: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row without what is accidental."""
    result = {**row, "jobId": role_id(row["jobId"], job_id), "time": role_time(row["time"])}
    # A held job has priority 0, others a number that depends on how many came before.
    result["priority"] = {None: None, 0: 0}.get(row["priority"], "some")
    result["tasks"] = [
        {**step, "id": role_id(step["id"], job_id), "time": role_time(step["time"])} for step in row["tasks"]
    ]
    for key in ignore:
        result["time"].pop(key, None)
        result["tasks"] = [{**step, "status": _without(step["status"], key)} for step in result["tasks"]]
    return result


def _without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


def role_id(text: str, job_id: str) -> str:
    """The id in terms of the job asked about: ``JOB_0.batch``; other numbers are elements' own."""
    match = re.fullmatch(r"(\d+)(.*)", text)
    assert match is not None, text
    number, rest = match.groups()
    return f"{'JOB' if number == job_id else 'OWN'}{rest}"


def role_time(times: dict[str, Any]) -> dict[str, Any]:
    """Limit as it is, of the others whether they are there."""
    kept: dict[str, Any] = {key: None if value is None else type(value) for key, value in times.items()}
    kept["limit"] = times["limit"]
    return kept
