"""Jobs of several components (`#SBATCH hetjob`): the first one runs the script, and its id is the job's."""

from __future__ import annotations

import pytest

from airflow_provider_firecrest.client import script
from airflow_provider_firecrest.client.attempts import Attempt, add_fence, find_exactly, marked_name
from airflow_provider_firecrest.client.flow import Flow
from airflow_provider_firecrest.client.models import Job

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=coupled
#SBATCH --ntasks=1
#SBATCH {word}
#SBATCH --job-name=ocean
#SBATCH --ntasks=128

srun model
"""
ATTEMPT = Attempt(("dag", "run", "task", "-1", "conn", "daint"), 0)


@pytest.fixture(params=["hetjob", "packjob"])
def text(request: pytest.FixtureRequest) -> str:
    return SCRIPT.format(word=request.param)


def test_the_jobs_options_are_those_of_its_first_component(text: str) -> None:
    assert script.directives(text) == {"job-name": "coupled", "ntasks": "1"}


def test_what_is_added_for_the_job_goes_to_its_first_component(text: str) -> None:
    changed = script.set_directive(text, "job-name", "coupled-af01234567890123")

    assert script.directives(changed)["job-name"] == "coupled-af01234567890123"
    assert changed.splitlines()[4:] == text.splitlines()[3:]


def test_the_fence_stands_behind_the_options_of_all_components(text: str) -> None:
    fenced = add_fence(text, ATTEMPT)

    assert fenced.index("firecrest_claim()") > fenced.index("--ntasks=128")


class Listing:
    """The one call that a search needs."""

    def __init__(self, *rows: Job) -> None:
        self._rows = list(rows)

    def jobs(self, **_: object) -> Flow[list[Job]]:
        yield from ()
        return self._rows


def test_it_is_found_by_the_id_that_can_be_asked_for() -> None:
    name = marked_name("coupled", ATTEMPT)
    api = Listing(
        Job("90+0", name, "RUNNING"), Job("90+1", "ocean", "RUNNING"), Job("91", "other", "RUNNING")
    )
    search = find_exactly(api, ATTEMPT, name)  # type: ignore[arg-type]

    with pytest.raises(StopIteration) as ended:
        next(search)

    assert [(job.job_id, job.state) for job in ended.value.value.jobs] == [("90", "RUNNING")]
