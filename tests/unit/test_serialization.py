"""What Airflow stores of our objects can be read back: DAGs, mapped tasks, triggers, XComs of results."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import BaseSerialization, DagSerialization
from airflow.triggers.base import BaseTrigger

from airflow_provider_firecrest.client.job_json import MAX_ELEMENTS, job_as_dict, job_from_dict
from airflow_provider_firecrest.client.models import Job, JobElement, JobStep
from airflow_provider_firecrest.operators._results import job_result, submitted_result
from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from airflow_provider_firecrest.operators.internal import (
    FirecrestCompressOperator,
    FirecrestExtractOperator,
    FirecrestInternalCopyOperator,
    FirecrestInternalDeleteOperator,
    FirecrestInternalMoveOperator,
    FirecrestInternalRsyncOperator,
)
from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from airflow_provider_firecrest.sensors.files import FirecrestFileSensor
from airflow_provider_firecrest.sensors.jobs import FirecrestJobSensor
from airflow_provider_firecrest.sensors.systems import FirecrestSystemSensor
from airflow_provider_firecrest.sensors.tasks import FirecrestTaskSensor
from airflow_provider_firecrest.triggers.dependent_jobs import FirecrestDependentJobTrigger
from airflow_provider_firecrest.triggers.files import FirecrestFileTrigger
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger
from airflow_provider_firecrest.triggers.pause import FirecrestPauseTrigger
from airflow_provider_firecrest.triggers.systems import FirecrestSystemTrigger
from airflow_provider_firecrest.triggers.tasks import FirecrestTaskTrigger

SCRIPT = "#!/bin/bash\necho {{ ds }}\n"

TASKS: dict[str, Callable[[], Any]] = {
    "submit": lambda: FirecrestSubmitJobOperator(
        task_id="t",
        script=SCRIPT,
        working_dir="/scratch/{{ params.who }}",
        job_name="n",
        account="a",
        partition="p",
        reservation="r",
        constraints="gpu",
        env={"A": "{{ ds }}"},
        stdin="/in",
        stdout="/out",
        stderr="/err",
        array="0-3",
        system="daint",
        deferrable=True,
    ),
    "submit_remote": lambda: FirecrestSubmitJobOperator(task_id="t", remote_script="/x.sh"),
    "cancel": lambda: FirecrestCancelJobOperator(task_id="t", job_id=["1", "{{ ds }}"]),
    "upload": lambda: FirecrestUploadOperator(task_id="t", source_path="/a", target_path="/b/{{ ds }}"),
    "download": lambda: FirecrestDownloadOperator(task_id="t", source_path="/a", target_path="/b/{{ ds }}"),
    **{
        cls.__name__: lambda cls=cls: cls(
            task_id="t", source_path="/a/{{ ds }}", target_path="/b", after_job_id="{{ ds }}", deferrable=True
        )
        for cls in (
            FirecrestInternalMoveOperator,
            FirecrestInternalCopyOperator,
            FirecrestInternalRsyncOperator,
            FirecrestCompressOperator,
            FirecrestExtractOperator,
        )
    },
    "delete": lambda: FirecrestInternalDeleteOperator(task_id="t", path="/a/{{ ds }}", time_limit="1"),
    "filesystem": lambda: FirecrestFilesystemOperator(
        task_id="t", operation="chmod", path="/a/{{ ds }}", arguments={"mode": "{{ ds }}"}
    ),
    "job_sensor": lambda: FirecrestJobSensor(task_id="t", job_id="{{ ds }}", deferrable=True),
    "file_sensor": lambda: FirecrestFileSensor(
        task_id="t", path="/x/{{ ds }}", min_size=1, mode="reschedule"
    ),
    "upload_directory": lambda: FirecrestUploadOperator(
        task_id="t",
        source_path="/a",
        target_path="/b/",
        compression="gzip",
        partition="{{ ds }}",
        time_limit="02:00:00",
    ),
    "task_sensor": lambda: FirecrestTaskSensor(
        task_id="t", firecrest_task_id=["{{ ds }}", "a1"], deferrable=True
    ),
    "system_sensor": lambda: FirecrestSystemSensor(task_id="t", system="daint", services=["scheduler"]),
}

COMMON = {"firecrest_conn_id": "c", "system": "daint", "poll_interval": 5.0, "deadline": 1234.5}
TRIGGERS: list[tuple[type[BaseTrigger], dict[str, Any]]] = [
    (
        FirecrestJobTrigger,
        {"job_ids": ["1"], "submitted_at": 1000.5, "cancel_on_kill": True, "carry": {"job_id": "1"}},
    ),
    (
        FirecrestDependentJobTrigger,
        {
            "job_ids": ["2"],
            "after_job_id": "1",
            "submitted_at": 1000.5,
            "cancel_on_kill": True,
            "carry": {"job_id": "2"},
        },
    ),
    (FirecrestFileTrigger, {"path": "/x", "min_size": 5}),
    (FirecrestPauseTrigger, {"until": 1000.5, "carry": {"pauses": 2, "limit": "QOSMaxJobs"}}),
    (FirecrestSystemTrigger, {"services": ["scheduler"]}),
    (
        FirecrestTaskTrigger,
        {"task_ids": ["a1"], "stuck_after": 9.5, "leftover": {"path": "/w"}, "carry": {"job_id": None}},
    ),
]


@pytest.mark.parametrize("name", TASKS)
def test_a_dag_with_the_task_is_read_back(name: str) -> None:
    with DAG("d", schedule=None) as dag:
        task = TASKS[name]()
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    DagSerialization.validate_schema(stored)
    again = DagSerialization.from_dict(stored).get_task("t")

    assert again.task_type == type(task).__name__
    assert tuple(again.template_fields) == tuple(task.template_fields)
    for field in task.template_fields:
        assert getattr(again, field) == getattr(task, field), field


@pytest.mark.parametrize("name", TASKS)
def test_every_template_field_is_rendered(name: str) -> None:
    with DAG("d", schedule=None) as dag:
        task = TASKS[name]()
    task.render_template_fields({"ds": "today", "params": {"who": "me"}}, dag.get_template_env())
    for field in task.template_fields:
        assert "{{" not in str(getattr(task, field)), field


def test_a_mapped_task_is_read_back() -> None:
    with DAG("d", schedule=None) as dag:
        FirecrestSubmitJobOperator.partial(task_id="t", working_dir="/x").expand(script=[SCRIPT, SCRIPT])
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert DagSerialization.from_dict(stored).get_task("t").is_mapped


@pytest.mark.parametrize(("cls", "own"), TRIGGERS)
def test_a_trigger_is_made_again_from_what_is_stored(cls: type[BaseTrigger], own: dict[str, Any]) -> None:
    trigger = cls(**COMMON, **own)
    path, arguments = trigger.serialize()
    stored = json.loads(json.dumps(BaseSerialization.serialize(arguments)))

    module, name = path.rsplit(".", 1)
    again = getattr(import_module(module), name)(**BaseSerialization.deserialize(stored))
    assert type(again) is cls
    assert again.serialize() == (path, {**COMMON, **own})


@pytest.mark.parametrize(("cls", "own"), TRIGGERS)
def test_a_trigger_stored_by_another_version_still_loads(cls: type[BaseTrigger], own: dict[str, Any]) -> None:
    assert isinstance(cls(**COMMON, **own, retired_argument=1), cls)


def array_of(count: int) -> Job:
    elements = tuple(
        JobElement(index, f"7_{index}", "FAILED" if index >= count - 2 else "COMPLETED", 0, 0, 5, "nid1")
        for index in range(count)
    )
    return Job("7", "many", "FAILED", steps=(JobStep("7.batch", "batch", "FAILED"),), elements=elements)


def test_a_job_survives_an_event() -> None:
    job = array_of(3)
    again = job_from_dict(json.loads(json.dumps(job_as_dict(job))))
    assert (again.job_id, again.state, again.elements) == (job.job_id, job.state, job.elements)


def test_a_job_in_an_event_of_another_version_still_loads() -> None:
    assert job_from_dict({**job_as_dict(array_of(1)), "brand_new": 1}).job_id == "7"


def test_a_huge_array_keeps_its_failed_elements_in_a_result_of_bounded_size() -> None:
    result = job_result(array_of(5000), {"system": "daint"})
    kept = [each["task_index"] for each in result["elements"]]
    assert len(kept) == MAX_ELEMENTS
    assert kept[-2:] == [4998, 4999]
    assert kept == sorted(kept)


def test_results_are_plain_json_with_the_same_keys_waited_for_or_not() -> None:
    note = {
        "system": "daint",
        "job_name": "n",
        "working_dir": "/w",
        "stdout": "/w/%x-%j-%u.out",
        "stderr": None,
    }
    job = Job("8", "n", "COMPLETED", user="me", elapsed=1800, allocated_nodes=4)
    full, bare = job_result(job, note), submitted_result("8", note)
    assert json.loads(json.dumps(full)) == full
    assert list(full) == list(bare)
    assert full["stdout"] == "/w/n-8-me.out"
    assert full["node_hours"] == 2.0
    assert bare["state"] is None
