"""Each endpoint of FirecREST v1: its flow asks what was recorded, and the recorded answer is understood.

v1 has its arguments in query or form, the machine in a header, and most answers in a task of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    ConfigurationError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TooLargeError,
    TransferFailedError,
)
from airflow_provider_firecrest.client.flow import Flow, Kind, Request, Response
from airflow_provider_firecrest.client.models import FormTicket, TransferJob
from airflow_provider_firecrest.client.v1 import V1, compute

from .recorded_v1 import api, call, last_task, load, play, polls, response, task

HOME = "/home/fireuser/rig1"
XI = f"{HOME}/xi"
SPAN: dict[str, Any] = {
    "number_of_nodes": 1,
    "node_type": "f7t",
    "start_time": "2026-12-20T05:55:15",
}
XFER_TASK = "3df3721562cebde04b15e1dd9cb4a3cc"

Make = Callable[[V1], Flow[Any]]

# recording -> the call that must ask exactly that, and what repeating it would do
DIRECT: dict[str, tuple[Make, Kind]] = {
    "status-services": (lambda v1: v1.services(), Kind.READ),
    "status-parameters": (lambda v1: v1.parameters(), Kind.READ),
    "status-filesystems-one": (lambda v1: v1.service_file_systems(), Kind.READ),
    "whoami-groups": (lambda v1: v1.userinfo(), Kind.READ),
    "reservations-list": (lambda v1: v1.managed_reservations(), Kind.READ),
    "reservations-create": (
        lambda v1: v1.create_reservation(
            "rig1-rsv", account="project", end_time="2026-12-20T06:55:15", **SPAN
        ),
        Kind.CREATE,
    ),
    "reservations-update": (
        lambda v1: v1.update_reservation("rig1-rsv", end_time="2026-12-20T07:25:17", **SPAN),
        Kind.IDEMPOTENT,
    ),
    "reservations-delete": (lambda v1: v1.delete_reservation("rig1-rsv"), Kind.IDEMPOTENT),
    "ls": (lambda v1: v1.ls(HOME), Kind.READ),
    "ls-links": (lambda v1: v1.ls(HOME, show_hidden=True), Kind.READ),
    "stat-link": (lambda v1: v1.stat(f"{HOME}/link", dereference=False), Kind.READ),
    "stat-link-deref": (lambda v1: v1.stat(f"{HOME}/link"), Kind.READ),
    "checksum": (lambda v1: v1.checksum(f"{HOME}/hello.txt"), Kind.READ),
    "file": (lambda v1: v1.file_type(f"{HOME}/hello.txt"), Kind.READ),
    "head": (lambda v1: v1.head(f"{HOME}/hello.txt", lines=2), Kind.READ),
    "head-bytes": (lambda v1: v1.head(f"{HOME}/hello.txt", size=4), Kind.READ),
    "tail": (lambda v1: v1.tail(f"{HOME}/hello.txt", lines=1), Kind.READ),
    "tail-skip": (lambda v1: v1.tail(f"{HOME}/hello.txt", lines=3, skip_heading=True), Kind.READ),
    "download": (lambda v1: v1.download(f"{HOME}/hello.txt"), Kind.READ),
    "mkdir": (lambda v1: v1.mkdir(HOME), Kind.CREATE),
    "mkdir-p": (lambda v1: v1.mkdir(f"{HOME}/a/b/c", parents=True), Kind.IDEMPOTENT),
    "rm": (lambda v1: v1.rm(f"{HOME}/moved.txt"), Kind.IDEMPOTENT),
    "chmod": (lambda v1: v1.chmod(f"{HOME}/hello.txt", "640"), Kind.IDEMPOTENT),
    "chown-group": (lambda v1: v1.chown(f"{HOME}/hello.txt", group="project"), Kind.IDEMPOTENT),
    "symlink": (lambda v1: v1.symlink(f"{HOME}/hello.txt", f"{HOME}/link"), Kind.CREATE),
    "copy": (lambda v1: v1.copy(f"{HOME}/hello.txt", f"{HOME}/copy.txt"), Kind.CREATE),
    "rename": (lambda v1: v1.rename(f"{HOME}/copy.txt", f"{HOME}/moved.txt"), Kind.CREATE),
    "compress": (lambda v1: v1.compress(f"{HOME}/a", f"{HOME}/a.tar.gz"), Kind.IDEMPOTENT),
    "extract": (lambda v1: v1.extract(f"{HOME}/a.tar.gz", f"{HOME}/a/b"), Kind.IDEMPOTENT),
    "tasks-one": (lambda v1: v1.task("8148806261d2e26e267ffe6d28234789"), Kind.READ),
    "xfer-ext-download-request": (lambda v1: v1.transfer_download(f"{HOME}/xfer/up1.bin"), Kind.CREATE),
    "xfer-ext-invalidate": (lambda v1: v1.invalidate(XFER_TASK), Kind.IDEMPOTENT),
}

# The same for calls whose answer comes as a task, recorded under the name with -task.
TASKS: dict[str, tuple[Make, Kind]] = {
    "compute-nodes": (lambda v1: v1.nodes(), Kind.READ),
    "compute-partitions": (lambda v1: v1.partitions(), Kind.READ),
    "compute-reservations-one": (lambda v1: v1.reservations(), Kind.READ),
    "cancel-running": (lambda v1: v1.cancel_job("29"), Kind.IDEMPOTENT),
    "submit-path-name-dash": (lambda v1: v1.submit_job(remote_script=f"{HOME}/-job.sh"), Kind.CREATE),
    "xfer-int-mv": (
        lambda v1: v1.transfer_mv(
            f"{XI}/b.txt", f"{XI}/b2.txt", job_name="rig1-mv", time_limit="00:05:00", account="project"
        ),
        Kind.CREATE,
    ),
    "xfer-int-cp-after-failed-dep": (
        lambda v1: v1.transfer_cp(f"{XI}/a.txt", f"{XI}/a5.txt", after_job_id="22", account="project"),
        Kind.CREATE,
    ),
    "xfer-int-rsync": (lambda v1: v1.transfer_rsync(f"{XI}/d", f"{XI}/d2", account="project"), Kind.CREATE),
    "xfer-int-rm": (lambda v1: v1.transfer_rm(f"{XI}/c.txt", account="project"), Kind.CREATE),
    "xfer-int-compress": (
        lambda v1: v1.transfer_compress(f"{XI}/d", f"{XI}/d.tar.gz", account="project"),
        Kind.CREATE,
    ),
    "xfer-int-extract": (
        lambda v1: v1.transfer_extract(f"{XI}/d.tar.gz", f"{XI}/d/e", account="project"),
        Kind.CREATE,
    ),
}

# The other calls of the server; each has a test of its own below.
MORE_ENDPOINTS = {
    "GET /status/systems",
    "GET /compute/jobs",
    "GET /compute/acct",
    "POST /compute/jobs/upload",
    "POST /utilities/upload",
    "POST /storage/xfer-external/upload",
    "GET /tasks",
}
ENDPOINTS = MORE_ENDPOINTS | {
    "GET /status/services",
    "GET /status/parameters",
    "GET /status/filesystems/{}",
    "GET /utilities/whoami",
    *(f"GET /utilities/{name}" for name in ("ls", "stat", "checksum", "file", "head", "tail", "download")),
    *(f"POST /utilities/{name}" for name in ("mkdir", "symlink", "copy", "compress", "extract")),
    *(f"PUT /utilities/{name}" for name in ("chmod", "chown", "rename")),
    "DELETE /utilities/rm",
    "GET /reservations",
    "POST /reservations",
    "PUT /reservations/{}",
    "DELETE /reservations/{}",
    "GET /compute/nodes",
    "GET /compute/partitions",
    "GET /compute/reservations",
    "DELETE /compute/jobs/{}",
    "POST /compute/jobs/path",
    *(f"POST /storage/xfer-internal/{name}" for name in ("mv", "cp", "rsync", "rm", "compress", "extract")),
    "POST /storage/xfer-external/download",
    "POST /storage/xfer-external/invalidate",
    "GET /tasks/{}",
}

# In the server's API description and not called, each for a reason.
NOT_CALLED = {
    "GET /status/services/{}": "services() has them all",
    "GET /status/systems/{}": "systems() has them all",
    "GET /status/filesystems": "service_file_systems() asks for one machine",
    "GET /compute/jobs/{}": "its task hangs for ever; get_job() asks for a list of one",
    "GET /compute/nodes/{}": "nodes() has them all",
    "GET /utilities/view": "it shows ten lines; view() reads the file",
}


def asked_first(name: str) -> Request:
    make, _ = (DIRECT | TASKS)[name]
    answers = call(name) if name in TASKS else [response(name)]
    played = play(make(api()), answers)
    assert played.error is None, played.error
    first: Request = played.requests[0]
    return first


def result(name: str) -> Any:
    make, _ = (DIRECT | TASKS)[name]
    played = play(make(api()), call(name) if name in TASKS else [response(name)])
    assert played.error is None, played.error
    return played.result


@pytest.mark.parametrize("name", DIRECT | TASKS)
def test_a_call_asks_what_was_recorded(name: str) -> None:
    recorded = load(name)["request"]
    params = {key: str(value) for key, value in (recorded["params"] or {}).items()}

    request = asked_first(name)

    assert (request.method, request.path) == (recorded["method"], recorded["url"])
    assert request.query() == params
    assert (dict(request.form or {}), request.json, request.upload) == (recorded["form"] or {}, None, None)
    for header in ("X-Machine-Name", "X-Task-Id"):
        assert request.headers.get(header) == recorded["headers"].get(header)


@pytest.mark.parametrize("name", DIRECT | TASKS)
def test_a_call_knows_what_repeating_it_would_do(name: str) -> None:
    assert asked_first(name).kind is (DIRECT | TASKS)[name][1]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_followed_to_its_end(name: str) -> None:
    started = load(name)["response"]["json"]["task_id"]

    played = play(TASKS[name][0](api()), call(name))

    assert {request.path for request in played.requests[1:]} == {f"/tasks/{started}"}
    assert len(played.requests) == 1 + len(polls(f"{name}-task"))


def test_every_endpoint_of_the_server_is_called_or_left_out_for_a_reason() -> None:
    called = {
        f"{request.method} "
        + re.sub(
            r"^(/tasks|/reservations|/compute/jobs|/status/filesystems)/(?!upload|path)[^/]+", r"\1/{}", path
        )
        for request in map(asked_first, DIRECT | TASKS)
        for path in (request.path,)
    }

    assert called | MORE_ENDPOINTS == ENDPOINTS
    assert not ENDPOINTS & set(NOT_CALLED)
    assert len(ENDPOINTS) + len(NOT_CALLED) == 51, "the operations in the server's description"


@pytest.mark.parametrize("name", [name for name in DIRECT if name.startswith("status-")])
def test_the_servers_cache_of_sixteen_minutes_is_passed_by(name: str) -> None:
    assert asked_first(name).headers["Cache-Control"] == "no-cache"


RESULTS: dict[str, Any] = {
    "cancel-running": True,
    "reservations-create": None,
    "reservations-delete": None,
    "rm": None,
    "copy": None,
    "compress": None,
    "xfer-ext-invalidate": None,
    "xfer-ext-download-request": load("xfer-ext-download-request")["response"]["json"]["task_id"],
    "checksum": load("checksum")["response"]["json"]["output"],
    "head": load("head")["response"]["json"]["output"],
    "tail-skip": load("tail-skip")["response"]["json"]["output"],
    "submit-path-name-dash": str(last_task("submit-path-name-dash-task")["data"]["jobid"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_call_returns_what_the_answer_says(name: str) -> None:
    assert result(name) == RESULTS[name]


@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("xfer-int")])
def test_a_file_job_is_returned_with_its_logs(name: str) -> None:
    data = last_task(f"{name}-task")["data"]

    found = result(name)

    assert found == TransferJob(
        job_id=str(data["jobid"]),
        system="cluster",
        working_dir=data["job_file"].rpartition("/")[0],
        output_log=data["job_file_out"],
        error_log=data["job_file_err"],
    )


def test_files_are_understood() -> None:
    row = load("ls")["response"]["json"]["output"][3]

    file = result("ls")[3]

    assert (file.name, file.size, file.file_type, file.user) == (
        "hello.txt",
        int(row["size"]),
        "-",
        "fireuser",
    )
    link = next(each for each in result("ls-links") if each.file_type == "l")
    assert link.link_target == f"{HOME}/hello.txt"
    assert result("stat-link").size == load("stat-link")["response"]["json"]["output"]["size"]


def test_the_user_and_the_groups_are_understood() -> None:
    user = result("whoami-groups")

    assert user.name == "fireuser"
    assert "project" in str(user.groups)


def test_the_machine_is_understood() -> None:
    [node] = result("compute-nodes")
    partitions = result("compute-partitions")
    [reservation] = result("compute-reservations-one")

    assert (node.name, node.states, node.features) == ("nid001", ("MIXED",), "f7t,mc")
    assert partitions[0].name == "part01"
    assert (partitions[0].cpus, partitions[0].nodes) == (8, 1)
    assert (reservation.name, reservation.state, reservation.nodes) == ("rig1-rsv", "INACTIVE", "nid001")


def test_systems_have_their_health_file_systems_and_limits() -> None:
    played = play(api().systems(), [response("status-systems"), response("status-parameters")])

    assert [request.path for request in played.requests] == ["/status/systems", "/status/parameters"]
    cluster = next(each for each in played.value() if each.name == "cluster")
    down = next(each for each in played.value() if each.name == "downcluster")
    assert [each.healthy for each in (*cluster.health, *down.health)] == [True, False]
    assert [each.path for each in cluster.file_systems] == ["/home", "/scratch"]
    assert cluster.transfer_method == "s3"
    # The server counts the whole form: 5 MiB - 300 passed, 5 MiB did not.
    assert 5 * 2**20 - 4096 < cluster.max_ops_file_size < 5 * 2**20 - 300


def test_an_unknown_machine_is_told_with_those_there_are() -> None:
    answers = [response("status-systems"), response("status-parameters")]

    played = play(api().system_info(system="daint"), answers)

    assert type(played.error) is NotFoundError
    assert "'daint'" in str(played.error)
    assert "cluster" in str(played.error)


def test_a_file_on_an_unknown_machine_is_not_just_absent() -> None:
    played = play(api().exists("/scratch/x"), [response("err-unknown-machine-utilities")])

    assert type(played.error) is InvalidRequestError


def test_a_path_exists_when_it_can_be_looked_at() -> None:
    assert play(api().exists(f"{HOME}/hello.txt"), [response("stat")]).result is True
    assert play(api().exists(f"{HOME}/nope"), [response("stat-missing")]).result is False
    assert type(play(api().exists("/root/x"), [response("stat-denied")]).error) is PermissionDeniedError


def test_a_call_that_names_no_machine_names_the_setting() -> None:
    for flow in (api(system=None).nodes(), api(system=None).ls("/"), api(system=None).transfer_rm("/x")):
        played = play(flow, [])
        assert type(played.error) is ConfigurationError
        assert "system" in str(played.error)


@pytest.mark.parametrize("char", list("<>|;\"'&\\()`\n\t"))
def test_a_character_that_the_server_forbids_is_not_sent(char: str) -> None:
    path = f"/scratch/a{char}b"
    for make in (
        api().stat(path),
        api().upload("/scratch", f"a{char}b", b""),
        api().transfer_cp("/scratch/a", path),
        api().transfer_upload(path, 1),
        api().transfer_download(path),
    ):
        played = play(make, [])
        assert type(played.error) is InvalidRequestError
        assert "a" in str(played.error)


def test_names_that_worked_are_sent_as_they_are() -> None:
    for name in ("space", "unicode", "dash", "dollar", "hash", "plus", "percent", "star", "brackets"):
        recorded = load(f"name-{name}-stat")["request"]["params"]["targetPath"]

        played = play(api().stat(recorded, dereference=False), [response(f"name-{name}-stat")])

        assert played.request.query() == {"targetPath": recorded}


@pytest.mark.parametrize("name", ["space", "comma", "dollar"])
def test_names_that_the_servers_own_transfer_fails_on_are_not_staged_from(name: str) -> None:
    char = {"space": " ", "comma": ",", "dollar": "$"}[name]

    assert type(play(api().transfer_download(f"/s/a{char}b"), []).error) is InvalidRequestError


# submit


def sent_script(request: Request) -> str:
    assert request.upload is not None
    with request.upload.open() as stream:
        return stream.read().decode()


def test_a_script_is_uploaded_as_it_was_recorded() -> None:
    recorded = load("submit-upload")["request"]
    filename, _, text = recorded["files"]["file"]

    played = play(api().submit_job(text), call("submit-upload"))

    request = played.requests[0]
    assert (request.method, request.path, request.kind) == ("POST", "/compute/jobs/upload", Kind.CREATE)
    assert request.upload is not None
    assert (request.upload.field, request.upload.filename) == ("file", filename)
    assert sent_script(request) == text
    assert request.headers["X-Machine-Name"] == "cluster"
    assert not request.form
    assert played.value() == str(last_task("submit-upload-task")["data"]["jobid"])


def test_what_v1_has_no_field_for_is_written_into_the_script() -> None:
    flow = api().submit_job(
        "#!/bin/bash\n#SBATCH -J mine\nhostname\n",
        name="theirs",
        account="project",
        partition="part01",
        reservation="res",
        constraints="mc",
        env={"A": "x y", "B": "1,2"},
    )

    request = play(flow, call("submit-upload")).requests[0]

    text = sent_script(request)
    for line in (
        "#SBATCH --job-name=theirs",
        "#SBATCH --partition=part01",
        "#SBATCH --reservation=res",
        "#SBATCH --constraint=mc",
    ):
        assert line in text.splitlines()
    # The account has a field; of the environment what the server would cut is exported by the script.
    assert request.form is not None
    assert request.form["account"] == "project"
    assert json.loads(request.form["env"]) == {"A": "x y"}
    assert "export B=1,2" in text
    assert text.index("--job-name=theirs") > text.index("-J mine"), "the last directive wins"
    assert text.index("export B") > text.index("--constraint"), "after it sbatch reads no directive"


def test_a_script_on_the_system_is_read_when_something_has_to_be_written_into_it() -> None:
    file = Response(200, {}, b"#!/bin/bash\nhostname\n")

    played = play(
        api().submit_job(remote_script=f"{HOME}/remote.sh", name="run"), [file, *call("submit-upload")]
    )

    assert [(each.method, each.path) for each in played.requests[:2]] == [
        ("GET", "/utilities/download"),
        ("POST", "/compute/jobs/upload"),
    ]
    assert "#SBATCH --job-name=run" in sent_script(played.requests[1])


def test_a_script_that_is_missing_on_the_system_is_not_found() -> None:
    flow = api().submit_job(remote_script=f"{HOME}/nope.sh")

    assert type(play(flow, [response("submit-path-missing")]).error) is NotFoundError


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "script"),
        ({"script": "#!/bin/bash\n", "remote_script": "/s.sh"}, "script"),
        ({"script": " \n"}, "script"),
        ({"script": "echo\n"}, "interpreter"),
        ({"script": "#!/bin/bash\n", "name": "a|b"}, "job_name"),
        ({"remote_script": "s.sh"}, "remote_script"),
    ],
)
def test_a_submit_that_would_fail_is_not_sent(given: dict[str, Any], field: str) -> None:
    played = play(api().submit_job(**given), [])

    assert type(played.error) is InvalidRequestError
    assert field in str(played.error)


def test_sbatchs_warning_leaves_it_open_whether_the_job_runs() -> None:
    """It did: the recording beside this one shows the job in the queue."""
    played = play(api().submit_job("#!/bin/bash\n"), call("submit-upload-warning-orphan"))

    assert type(played.error) is AmbiguousError
    assert "Warning: can't run 1 processes on 3 nodes" in str(played.error)


# jobs


def test_a_job_is_looked_for_in_accounting_and_in_the_queue_until_it_is_over() -> None:
    running = [*task(load("acct-running-row")["task"]["data"]), *call("squeue-running")]

    played = play(api().get_job("481"), running)

    assert [each.path for each in played.requests if "task" not in each.path] == [
        "/compute/acct",
        "/compute/jobs",
    ]
    assert played.requests[0].query()["jobs"] == "481"
    assert played.value().state == "RUNNING"


def test_a_job_that_is_over_costs_one_question() -> None:
    played = play(api().get_job("7"), call("acct-one"))

    assert (played.value().state, played.value().exit_code) == ("COMPLETED", 0)
    assert [each.path for each in played.requests if "task" not in each.path] == ["/compute/acct"]


@pytest.mark.parametrize("queue", ["squeue-purged-one", "squeue-finished-job", "jobs-unknown-id-squeue"])
def test_a_job_that_nobody_shows_is_unknown_and_not_over(queue: str) -> None:
    """A new job, for the first seconds, and one that never was: the same answer ``{}``."""
    played = play(api().get_job("443"), [*call("acct-pending-job"), *call(queue)])

    assert type(played.error) is NotFoundError
    assert "443" in str(played.error)


def test_a_new_job_is_found_in_the_queue() -> None:
    """Accounting shows it seconds later."""
    rows = last_task("squeue-running-task")["data"]

    played = play(api().get_job("481"), [*call("acct-pending-job"), *task(rows)])

    assert played.value().state == "RUNNING"


def test_many_jobs_cost_one_question_to_each_view() -> None:
    # 21 and 22 are over, 999999 is unknown: in a list the queue does not complain of it.
    played = play(
        api().find_jobs(["21", "22", "29", "999999"]),
        [*call("acct-several"), *call("squeue-several-one-unknown")],
    )

    assert {key: job.state for key, job in played.value().items()} == {
        "21": "COMPLETED",
        "22": "FAILED",
        "29": "RUNNING",
    }
    calls = [each for each in played.requests if "task" not in each.path]
    assert [each.path for each in calls] == ["/compute/acct", "/compute/jobs"]
    assert calls[1].query()["jobs"] == "29,999999"


@pytest.mark.parametrize("look", range(5))
def test_an_array_is_one_job_whatever_the_two_views_show_of_it(look: int) -> None:
    views = load("array-job-acct-squeue-rows")["rows"][look]

    job = play(api().get_job("36"), [*task(views["acct"]), *task(views["squeue"])]).value()

    assert (job.job_id, job.is_final) == ("36", False)
    assert len({each.task_index for each in job.elements}) == len(job.elements)


def test_an_array_is_over_when_all_its_elements_are() -> None:
    *_, ended = load("array-job-acct-squeue-rows")["rows"]

    job = play(api().get_job("36"), task(ended["acct"])).value()

    assert (job.state, job.is_final) == ("COMPLETED", True)
    assert [each.task_index for each in job.elements] == [1, 2, 3, 4, 5]


def test_one_element_of_an_array_is_returned_when_it_is_named() -> None:
    played = play(api().get_job("36_1"), call("acct-array_task"))

    assert played.requests[0].query()["jobs"] == "36"
    assert (played.value().job_id, played.value().state) == ("36_1", "COMPLETED")


def test_a_list_is_the_queue_and_accounting_since_a_day_that_is_surely_early_enough() -> None:
    """v1 honours nothing but a date, and counts days in its own zone."""
    played = play(api().jobs(name="rig1-ok"), [*call("squeue-empty"), *call("acct-several")])

    queue, accounting = (each for each in played.requests if "task" not in each.path)
    assert (queue.path, accounting.path) == ("/compute/jobs", "/compute/acct")
    since = datetime.fromisoformat(accounting.query()["starttime"]).replace(tzinfo=UTC)
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", accounting.query()["starttime"])
    assert timedelta(days=2) <= datetime.now(UTC) - since < timedelta(days=3, minutes=5)
    assert {job.name for job in played.value()} == {"rig1-ok"}


def test_other_users_jobs_are_listed_when_they_are_asked_for() -> None:
    played = play(api().jobs(all_users=True), [*call("squeue-all-users"), *call("acct-several")])

    assert played.requests[0].query()["userJobs"] == "false"
    assert len(played.value()) >= len(last_task("squeue-all-users-task")["data"])


def test_a_list_longer_than_a_page_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_PAGE", 2)
    row = last_task("acct-one-task")["data"][0]
    pages = [[{**row, "jobid": "1"}, {**row, "jobid": "2"}], [{**row, "jobid": "3"}]]

    played = play(api().jobs(), [*task({}), *task(pages[0]), *task(pages[1])])

    assert [job.job_id for job in played.value()] == ["1", "2", "3"]
    asked = [each.query() for each in played.requests if each.path == "/compute/acct"]
    assert [(each["pageSize"], each["pageNumber"]) for each in asked] == [("2", "0"), ("2", "1")]


def test_a_list_that_ends_with_a_full_page_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page after it is answered by an error, not by nothing."""
    monkeypatch.setattr(compute, "_PAGE", 2)
    row = last_task("acct-one-task")["data"][0]
    page = [{**row, "jobid": "1"}, {**row, "jobid": "2"}]

    played = play(api().jobs(), [*task({}), *task(page), *call("acct-page-beyond")])

    assert [job.job_id for job in played.value()] == ["1", "2"]


def test_an_account_cannot_be_listed_by() -> None:
    assert type(play(api().jobs(account="project"), []).error) is InvalidRequestError


def test_the_streams_of_a_job_are_known_as_long_as_it_is_in_the_queue() -> None:
    path = "/home/fireuser/firecrest/8eb9a5c05bf02221eeb2935eff69ae73/slurm-481.out"

    found = play(api().job_metadata("481"), call("squeue-running")).value()

    assert (found.stdout, found.stderr) == (path, path)
    assert type(play(api().job_metadata("7"), call("squeue-finished-job")).error) is NotFoundError


@pytest.mark.parametrize("job_id", ["abc", "0", "", "-1", "1;2", "../x"])
def test_what_cannot_be_a_job_id_is_not_sent(job_id: str) -> None:
    for flow in (api().get_job(job_id), api().cancel_job(job_id), api().job_metadata(job_id)):
        assert type(play(flow, []).error) is InvalidRequestError


# cancel


@pytest.mark.parametrize("name", ["cancel-running", "cancel-pending"])
def test_a_cancel_that_was_heard_is_true(name: str) -> None:
    assert play(api().cancel_job("29"), call(name)).result is True


@pytest.mark.parametrize("name", ["cancel-finished", "cancel-again", "cancel-array-whole"])
def test_a_job_that_was_over_already_is_no_failure_of_its_cancel(name: str) -> None:
    assert play(api().cancel_job("21"), call(name)).result is False


def test_an_unknown_job_and_somebody_elses_cannot_be_cancelled() -> None:
    unknown = [*call("cancel-unknown"), *call("jobs-unknown-id-acct"), *call("jobs-unknown-id-squeue")]
    assert type(play(api().cancel_job("999999"), unknown).error) is NotFoundError
    assert type(play(api().cancel_job("35"), call("cancel-other-user")).error) is PermissionDeniedError


def test_a_job_over_so_long_that_slurm_forgot_it_was_over_already_too() -> None:
    assert play(api().cancel_job("7"), [*call("cancel-unknown"), *call("acct-one")]).result is False


def test_a_cancel_that_was_refused_for_a_job_that_goes_on_is_a_failure() -> None:
    running = [*task(load("acct-running-row")["task"]["data"]), *call("squeue-running")]

    assert type(play(api().cancel_job("481"), [*call("cancel-unknown"), *running]).error) is NotFoundError


def test_one_element_of_an_array_can_be_cancelled() -> None:
    played = play(api().cancel_job("25_3"), call("cancel-array-task"))

    assert played.requests[0].path == load("cancel-array-task")["request"]["url"] == "/compute/jobs/25_3"
    assert played.result is False, "it was over"


@pytest.mark.parametrize("job_id", ["36_[1-3]", "36_[2-5%1]", "36+1", "36.batch", "36_"])
def test_a_part_of_a_job_is_not_cancelled_by_cancelling_all_of_it(job_id: str) -> None:
    played = play(api().cancel_job(job_id), [])

    assert type(played.error) is InvalidRequestError
    assert job_id in str(played.error)


def test_v1_cannot_attach() -> None:
    assert type(play(api().attach("7", "hostname"), []).error) is InvalidRequestError


# small files


def test_a_small_file_is_uploaded_as_it_was_recorded() -> None:
    recorded = load("upload")["request"]
    filename, _, text = recorded["files"]["file"]

    played = play(
        api().upload(recorded["form"]["targetPath"], filename, text.encode()),
        [response("status-parameters"), response("upload")],
    )

    request = played.requests[1]
    assert (request.method, request.path) == ("POST", "/utilities/upload")
    assert dict(request.form or {}) == recorded["form"]
    assert request.upload is not None
    assert (request.upload.field, request.upload.filename) == ("file", filename)
    assert sent_script(request) == text


@pytest.mark.parametrize("size", [5 * 2**20, 5 * 2**20 - 100])
def test_a_file_too_large_for_the_servers_parameters_is_not_sent(size: int) -> None:
    played = play(api().upload("/scratch", "big", b"x" * size), [response("status-parameters")])

    assert type(played.error) is TooLargeError


def test_a_piece_of_a_file_is_cut_out_of_all_of_it() -> None:
    """v1's own view shows ten lines whatever one asks for."""
    played = play(api().view(f"{HOME}/x", size=3, offset=2), [Response(200, {}, b"0123456789")])

    assert played.request.path == "/utilities/download"
    assert played.value() == "234"


@pytest.mark.parametrize("compression", ["bzip2", "xz", "none"])
def test_an_archive_of_another_kind_is_not_asked_for(compression: str) -> None:
    flow = api().compress("/s/a", "/s/a.tar", compression=compression)

    assert type(play(flow, []).error) is InvalidRequestError


def test_an_archive_whose_ending_says_something_else_is_not_unpacked() -> None:
    assert type(play(api().extract("/s/a.zip", "/s"), []).error) is InvalidRequestError
    assert type(play(api().extract("/s/a.tar.gz", "/s", compression="xz"), []).error) is InvalidRequestError


# jobs on files, and staging


def test_a_missing_account_is_told_where_the_site_needs_one() -> None:
    flow = api().transfer_cp(f"{XI}/a.txt", f"{XI}/a2.txt")

    played = play(flow, call("xfer-int-cp-noaccount"))

    assert type(played.error) is InvalidRequestError
    assert "Invalid account" in str(played.error)
    assert "name one in the call or in the connection" in str(played.error)


def test_a_wrong_account_is_not_told_to_be_missing() -> None:
    flow = api().transfer_cp(f"{XI}/a.txt", f"{XI}/a3.txt", account="nosuch")

    assert "name one" not in str(play(flow, call("xfer-int-cp-badaccount")).error)


@pytest.mark.parametrize("limit", ["soon", "1h", "10:", "00:00:00:00", "-5"])
def test_a_time_limit_that_is_none_is_not_sent(limit: str) -> None:
    played = play(api().transfer_rm("/scratch/x", time_limit=limit), [])

    assert type(played.error) is InvalidRequestError
    assert "time_limit" in str(played.error)


def test_the_connections_account_is_used() -> None:
    flow = api(account="project").transfer_rm("/scratch/x")

    assert (play(flow, call("xfer-int-rm")).requests[0].form or {})["account"] == "project"


def test_an_upload_gets_a_form_that_is_not_shown() -> None:
    target = f"{HOME}/xfer/up1.bin"
    answers = [response("xfer-ext-upload-request"), *polls("xfer-ext-upload-seq-until-111")]
    parameters = last_task("xfer-ext-upload-seq-until-111")["data"]["msg"]["parameters"]

    played = play(api().transfer_upload(target, 100), answers)

    assert dict(played.requests[0].form or {}) == {"targetPath": target, "sourcePath": "up1.bin"}
    ticket = played.value()
    assert ticket == FormTicket("5117b276ecaff6b7ee58566a363ebd56", parameters["url"], parameters["data"])
    assert parameters["data"]["x-amz-signature"] not in repr(ticket)


def test_an_upload_without_a_bucket_fails_with_the_servers_reason() -> None:
    answers = [response("xfer-ext-upload-request"), *polls("xfer-ext-upload-400-no-bucket-seq")]

    played = play(api().transfer_upload(f"{HOME}/x", 1), answers)

    assert type(played.error) is TransferFailedError
    assert "Could not create container" in str(played.error)


def test_more_than_one_form_can_carry_is_refused_before_anything_is_sent() -> None:
    limit = 5 * 2**30
    played = play(api().transfer_upload("/scratch/x", limit + 1), [])

    assert type(played.error) is InvalidRequestError
    assert "5 GiB" in str(played.error)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xfer-ext-download-missing-source", NotFoundError),
        ("xfer-ext-download-denied-source", PermissionDeniedError),
        ("xfer-ext-download-dir", InvalidRequestError),
    ],
)
def test_a_source_that_cannot_be_staged_is_told_at_once(name: str, expected: type) -> None:
    assert type(play(api().transfer_download("/scratch/x"), [response(name)]).error) is expected


def test_the_url_of_a_download_is_there_at_117_only() -> None:
    sequence = polls("xfer-ext-download-seq")

    assert play(api().download_url(XFER_TASK), sequence[-1:]).value().startswith("http://127.0.0.1:9001/")
    for early in sequence[:-1]:
        assert type(play(api().download_url(XFER_TASK), [early]).error) is TransferFailedError


ODD = [b"", b"null", b"[]", b"{}", b'"x"', b"{", b'{"output": 5}', b'{"out": [5]}', b'{"success": 5}']


@pytest.mark.parametrize("content", ODD)
def test_an_answer_that_cannot_be_read_is_an_error_of_ours_and_no_crash(content: bytes) -> None:
    v1 = api()
    flows: list[Flow[Any]] = [
        v1.systems(),
        v1.services(),
        v1.parameters(),
        v1.service_file_systems(),
        v1.managed_reservations(),
        v1.userinfo(),
        v1.nodes(),
        v1.jobs(),
        v1.ls("/s"),
        v1.stat("/s"),
        v1.checksum("/s"),
        v1.transfer_rm("/s"),
        v1.transfer_upload("/s", 1),
        v1.transfer_download("/s"),
    ]
    for flow in flows:
        answer = Response(200, {"content-type": "application/json"}, content)
        played = play(flow, [answer])
        assert isinstance(played.error, FirecrestError), flow


@pytest.mark.parametrize("data", ["text", 5, None, [5], {"0": 5}, [{"State": 5}]])
def test_a_task_with_other_data_than_expected_is_no_crash(data: Any) -> None:
    for make in (api().nodes(), api().partitions(), api().reservations(), api().transfer_rm("/s")):
        played = play(make, task(data))
        assert played.error is None or isinstance(played.error, FirecrestError)
