"""Recorded answers as values: in the field's words, and without what the server only guesses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from airflow_provider_firecrest.client import models
from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.client.states import Outcome

from .recorded import load


def body(name: str) -> Any:
    return load(name)["response"]["json"]


def job(name: str) -> Job:
    (row,) = body(name)["jobs"]
    return Job.from_v2(row)


# name of the recording: outcome, state, exit code, signal, reason
ENDINGS = {
    "job_completed": (Outcome.SUCCEEDED, "COMPLETED", 0, 0, None),
    "job_old_finished": (Outcome.SUCCEEDED, "COMPLETED", 0, 0, None),
    "job_with_steps_failed_step": (Outcome.SUCCEEDED, "COMPLETED", 0, 0, None),
    "job_failed_exit3": (Outcome.FAILED, "FAILED", 3, 0, None),
    "job_exit137": (Outcome.FAILED, "FAILED", 9, 0, None),
    "job_cmd_not_found": (Outcome.FAILED, "FAILED", 127, 0, None),
    "job_bad_interpreter": (Outcome.FAILED, "FAILED", 2, 0, None),
    "job_sigkill": (Outcome.FAILED, "FAILED", 0, 9, None),
    "job_sigterm": (Outcome.FAILED, "FAILED", 0, 15, None),
    "job_oom": (Outcome.FAILED, "FAILED", 0, 9, None),
    "job_workdir_missing": (Outcome.FAILED, "FAILED", 0, 53, None),
    "job_workdir_ro": (Outcome.FAILED, "FAILED", 0, 53, None),
    "job_timeout": (Outcome.FAILED, "TIMEOUT", 0, 0, None),
    "job_cancelled_running": (Outcome.FAILED, "CANCELLED by 2001", 0, 0, None),
    "job_cancelled_running_trap": (Outcome.FAILED, "CANCELLED by 2001", 0, 0, None),
    "job_cancelled_running_trap_exit0": (Outcome.FAILED, "CANCELLED by 2001", 0, 0, None),
    "job_cancelled_pending": (Outcome.FAILED, "CANCELLED by 2001", 0, 0, "BeginTime"),
    "job_dep_kill_invalid": (Outcome.FAILED, "CANCELLED", 0, 0, "Dependency"),
    "job_pending": (Outcome.ACTIVE, "PENDING", None, None, "BeginTime"),
    "job_held": (Outcome.ACTIVE, "PENDING", None, None, "JobHeldUser"),
    "job_dependency_never_satisfied": (Outcome.ACTIVE, "PENDING", None, None, "DependencyNeverSatisfied"),
    "job_requeued_pending": (Outcome.ACTIVE, "PENDING", None, None, "BeginTime"),
    "job_running": (Outcome.ACTIVE, "RUNNING", 0, 0, None),
    "job_suspended": (Outcome.ACTIVE, "SUSPENDED", 0, 0, None),
}


@pytest.mark.parametrize(("name", "expected"), ENDINGS.items())
def test_a_jobs_state_decides_not_its_exit_code(name: str, expected: tuple[Any, ...]) -> None:
    found = job(name)

    assert (found.outcome, found.state, found.exit_code, found.signal, found.state_reason) == expected
    assert found.is_final == (expected[0] is not Outcome.ACTIVE)
    assert found.succeeded == (expected[0] is Outcome.SUCCEEDED)


@pytest.mark.parametrize("name", ["job_pending", "job_requeued_pending", "job_dep_unknown"])
def test_the_schedulers_estimate_of_a_start_is_not_a_start(name: str) -> None:
    (row,) = body(name)["jobs"]
    assert row["time"]["start"] is not None

    assert job(name).start_time is None
    assert job(name).end_time is None


@pytest.mark.parametrize("name", ["job_running", "job_suspended"])
def test_a_job_under_way_has_a_start_and_no_end(name: str) -> None:
    assert job(name).start_time is not None
    assert job(name).end_time is None


def test_the_queues_end_of_a_running_element_is_an_estimate_too() -> None:
    raw = next(row for row in body("job_array_mixed")["jobs"] if row["jobId"] == "92")
    assert raw["time"]["end"] is not None

    assert Job.from_v2(raw).end_time is None


def test_a_job_carries_everything_the_answer_says() -> None:
    found = job("job_completed")

    assert found == Job(
        job_id="37",
        name="ok-job",
        state="COMPLETED",
        exit_code=0,
        signal=0,
        user="fireuser",
        account="project",
        partition="part01",
        nodes="nid001",
        allocated_nodes=1,
        working_dir="/scratch/fireuser/jobs",
        start_time=1795153071,
        end_time=1795153072,
        elapsed=1,
        time_limit=3600,
        steps=found.steps,
    )
    assert [(step.step_id, step.state, step.exit_code) for step in found.steps] == [
        ("37.batch", "COMPLETED", 0),
        ("37.0", "COMPLETED", 0),
    ]


@pytest.mark.parametrize("name", ["job_pending", "job_cancelled_pending"])
def test_a_job_that_never_had_a_node_has_none(name: str) -> None:
    assert job(name).nodes is None


def test_a_list_of_states_counts_as_its_words() -> None:
    found = Job.from_v2({"jobId": 7, "status": {"state": ["RUNNING", "COMPLETING"]}})

    assert (found.job_id, found.state, found.outcome) == ("7", "RUNNING COMPLETING", Outcome.ACTIVE)


@pytest.mark.parametrize(
    ("letter", "exit_code", "expected"),
    [
        ("F", 0, Outcome.SUCCEEDED),
        ("F", 1, Outcome.FAILED),
        ("X", 0, Outcome.SUCCEEDED),
        ("R", 0, Outcome.ACTIVE),
    ],
)
def test_a_pbs_job_that_is_finished_succeeded_if_its_exit_code_is_0(
    letter: str, exit_code: int, expected: Outcome
) -> None:
    """PBS has one letter for "finished", however it went."""
    found = Job.from_v2({"jobId": 7, "status": {"state": letter, "exitCode": exit_code}})

    assert found.outcome is expected


@pytest.mark.parametrize("row", [{}, {"jobId": None, "status": None, "time": None, "tasks": None}])
def test_missing_fields_are_none_and_the_job_goes_on(row: dict[str, Any]) -> None:
    found = Job.from_v2(row)

    assert found.outcome is Outcome.ACTIVE
    assert found.exit_code is None
    assert found.steps == ()


def test_unknown_fields_are_ignored() -> None:
    (row,) = body("job_completed")["jobs"]

    assert Job.from_v2({**row, "somethingNew": {"a": 1}}) == job("job_completed")


def test_a_system_says_what_it_can_carry() -> None:
    cluster, streamer = (models.System.from_v2(row) for row in body("status_systems")["systems"])

    assert (cluster.name, cluster.scheduler, cluster.scheduler_version) == ("cluster", "slurm", "22.05.8")
    assert cluster.max_ops_file_size == 5_242_880
    assert (cluster.transfer_method, streamer.transfer_method) == ("s3", "streamer")
    assert [fs.path for fs in cluster.file_systems] == ["/home", "/scratch"]
    assert cluster.default_work_dir == "/scratch"
    assert {each.service for each in cluster.health} == {"scheduler", "ssh", "filesystem", "s3"}
    assert all(each.healthy for each in cluster.health)


def test_a_site_that_wants_an_account_for_transfers_says_so() -> None:
    by_name = {row["name"]: models.System.from_v2(row) for row in body("status_systems")["systems"]}
    wanting = {"name": "s", "dataOperation": {"datatransfer_jobs_directives": ["#SBATCH -A {account}"]}}

    assert not by_name["cluster"].needs_transfer_account
    assert models.System.from_v2(wanting).needs_transfer_account


def test_a_sick_service_shows() -> None:
    after = models.System.from_v2(body("down_ssh_after_healthcheck_systems")["systems"][0])

    assert not all(each.healthy for each in after.health)


def test_an_outage_of_the_login_service_shows_as_one_entry() -> None:
    """Seen on a real server: the whole health list is one entry of type "exception"."""
    for row in body("down_oidc_systems")["systems"]:
        system = models.System.from_v2(row)
        assert [each.service for each in system.health] == ["exception"] * len(system.health)


def test_ls_sizes_are_numbers_and_links_have_targets() -> None:
    found = {row["name"]: models.RemoteFile.from_v2(row) for row in body("ops_ls_hidden")["output"]}

    assert (found["a.txt"].size, found["a.txt"].file_type) == (18, "-")
    assert (found["dirlink"].file_type, found["dirlink"].link_target) == ("l", "sub")
    assert found[".hidden"].permissions == "rw-r--r--"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ops_stat_ok", "is_file"), ("ops_stat_dir", "is_dir"), ("ops_stat_symlink", "is_link")],
)
def test_stat_knows_files_directories_and_links(name: str, kind: str) -> None:
    found = models.FileStat.from_v2(body(name)["output"])

    assert [each for each in ("is_file", "is_dir", "is_link") if getattr(found, each)] == [kind]


def test_nodes_partitions_reservations_and_the_user_are_read() -> None:
    node = models.Node.from_v2(body("status_nodes")["nodes"][0])
    partition = models.Partition.from_v2(body("status_partitions")["partitions"][0])
    reservation = models.Reservation.from_v2(body("status_reservations")["reservations"][0])
    user = models.UserInfo.from_v2(body("status_userinfo"))

    assert (node.name, node.states, node.cpus, node.features) == ("nid001", ("IDLE",), 8, "f7t,mc")
    assert node.partitions == ("part01", "part02", "xfer", "jupyter")
    assert (partition.name, partition.states, partition.nodes) == ("part01", ("UP",), 1)
    assert (reservation.name, reservation.end_time, reservation.state) == ("rigres", 1795157173, "inactive")
    assert (user.name, user.uid, user.accounts) == ("fireuser", "2001", ("project2", "project"))
    assert user.default_account == "project"


def test_metadata_names_script_and_streams() -> None:
    (row,) = body("metadata_running")["jobs"]

    found = models.JobMetadata.from_v2(row)

    assert found.script is not None
    assert found.script.startswith("#!/bin/bash")
    assert (found.stdin, found.stdout) == ("/dev/null", "/scratch/fireuser/jobs/slurm-75.out")


def test_tickets_carry_the_urls_and_do_not_show_them() -> None:
    upload = models.UploadTicket.from_v2(body("transfer_upload_s3_multipart"))
    download = models.DownloadTicket.from_v2(body("transfer_download_s3_small"))

    assert (len(upload.part_urls), upload.part_size) == (3, 8_388_608)
    assert upload.transfer.job_id == "356"
    assert upload.transfer.output_log.startswith("/scratch/fireuser/.f7t_file_handling_job_")
    assert "X-Amz-Signature" in download.url
    assert "Amz" not in repr(upload) + repr(download) + str(upload) + str(download)


def test_tickets_of_older_servers_are_read_too() -> None:
    """They put the URLs beside the job, and some write names with underscores."""
    job = body("transfer_upload_s3_multipart")["transferJob"]
    camel = {"partsUploadUrls": ["u1", "u2"], "completeUploadUrl": "c", "maxPartSize": 8}
    snake = {"parts_upload_urls": ["u1", "u2"], "complete_upload_url": "c", "max_part_size": 8}

    for directives in (camel, snake):
        for answer in (
            {"transferJob": job, **directives},
            {"transferJob": job, "transferDirectives": directives},
        ):
            found = models.UploadTicket.from_v2(answer)
            assert (found.part_urls, found.complete_url, found.part_size) == (("u1", "u2"), "c", 8)
    for name in ("downloadUrl", "download_url"):
        for answer in (
            {"transferJob": job, name: "d"},
            {"transferJob": job, "transferDirectives": {name: "d"}},
        ):
            assert models.DownloadTicket.from_v2(answer).url == "d"


def test_a_zero_byte_upload_has_no_parts() -> None:
    assert models.UploadTicket.from_v2(body("transfer_upload_s3_zero")).part_urls == ()


def test_every_value_is_frozen_and_can_be_compared() -> None:
    classes = [each for each in vars(models).values() if isinstance(each, type) and hasattr(each, "from_v2")]

    assert len(classes) >= 12
    for each in classes:
        assert fields(each)
        assert each.__dataclass_params__.frozen  # type: ignore[attr-defined]
