"""The jobs the v1 recordings speak of, and rows about them."""

from __future__ import annotations

from typing import Any

from tests.conformance.v1_harness import V1Replayer, check_same_json

_HEAD = "#!/bin/bash\n#SBATCH -J rig1-{name}\n"
# By the names the recorded jobs had, without "rig1-".
SCRIPTS = {
    "timeout": "#SBATCH --time=1\nsleep 100\n",
    "short": "#SBATCH --time=0:01\nsleep 100\n",
    "ok": "true\n",
    "fail": "exit 7\n",
    "signal": "kill -9 $$\n",
    "array": "#SBATCH --array=0-3%2\n[ $SLURM_ARRAY_TASK_ID != 2 ]\n",
    "lastarray": "#SBATCH --array=0-3%3\n[ $SLURM_ARRAY_TASK_ID != 3 ] || sleep 100\n",
    "arr2": "#SBATCH --array=1-5%1\nsleep 0.3\n",
    "parr": "#SBATCH --array=1-3%1\nsleep 100\n",
    "steps": "srun false\ntrue\n",
    "cancelrun": "sleep 100\n",
    "hold": "#SBATCH --hold\ntrue\n",
    "held": "#SBATCH --hold\ntrue\n",
    "begin": "#SBATCH --begin=now+2hours\ntrue\n",
    "shape": 'for i in 1 2 3; do echo "out $i"; echo "err $i" >&2; done\nsleep 100\n',
    "other": "sleep 100\n",
    "manynodes": "#SBATCH --nodes=5\nhostname\n",
}


class Jobs:
    """Jobs of one test.

    Args:
        replayer: submits as the usual user.
    """

    def __init__(self, replayer: V1Replayer) -> None:
        self.replayer = replayer

    def submit(self, name: str, script: str | None = None, *, job_name: str | None = None) -> str:
        """Submit one of `SCRIPTS`, or another one; returns the job's id."""
        body = SCRIPTS[name] if script is None else script
        text = f"#!/bin/bash\n#SBATCH -J '{job_name or f'rig1-{name}'}'\n{body}"
        response = self.replayer.call(
            "POST", "/compute/jobs/upload", files={"file": ("job.sh", text.encode())}
        )
        task = self.replayer.result(response)
        assert task["status"] == "200", task
        return str(task["data"]["jobid"])

    def submit_as_other(self) -> str:
        """A running job of the second user, who has no home to upload scripts to; it goes through v2."""
        server = self.replayer.server
        script = f"{_HEAD.format(name='other')}{SCRIPTS['other']}"
        job = {"script": script, "working_directory": "/tmp", "standard_output": "/dev/null"}
        headers = {"Authorization": f"Bearer {self.replayer.tokens['otheruser-client']}"}
        response = self.replayer.session.post(
            f"{server.base_url}/compute/cluster/jobs", json={"job": job}, headers=headers, timeout=30
        )
        assert response.status_code == 201, response.text
        return str(response.json()["jobId"])

    def tasks(self, job_id: str) -> list[dict[str, Any]]:
        """What the scheduler itself says about a job or an array."""
        return [job for job in self.replayer.server.jobs() if job_id in (job["id"], job["array_id"])]

    def wait(self, job_id: str, *states: str) -> None:
        """Until every task of the job is in one of these states (default: over, its processes too)."""

        def reached() -> bool | None:
            tasks = self.tasks(job_id)
            if states:
                return all(task["state"] in states for task in tasks) or None
            over = all(task["state"] not in ("PENDING", "RUNNING") for task in tasks)
            return (over and not any(task["processes_left"] for task in tasks)) or None

        self.replayer.wait_until(reached, 20, f"job {job_id} in {states or 'a final state'}")

    def run(self, name: str) -> str:
        """Submit a job and wait for its end."""
        job_id = self.submit(name)
        self.wait(job_id)
        return job_id

    def running(self, name: str) -> str:
        """Submit a job and wait until it runs."""
        job_id = self.submit(name)
        self.wait(job_id, "RUNNING")
        return job_id

    def ask(self, path: str, **params: Any) -> Any:
        """Data of the finished task behind a GET."""
        task = self.replayer.result(self.replayer.call("GET", path, params=params))
        return task["data"]


def check_same_row(replayer: V1Replayer, got: Any, expected: Any) -> None:
    """Assert that a row, or several, say what the recorded ones say."""
    check_same_json(replayer.anonymise(got), replayer.anonymise(expected))
