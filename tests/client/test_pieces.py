"""The look beside the target of a staged upload: FirecREST v2's job overwrites what looks like a piece."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.errors import ConflictError, UnavailableError
from airflow_provider_firecrest.client.leftovers.pieces import pieces_in
from airflow_provider_firecrest.client.transfers import (
    StagedUpload,
    UploadPlan,
    UploadState,
    finish_upload,
    plan_upload,
    stage_upload,
)
from airflow_provider_firecrest.client.transfers.beside import check_beside
from tests.client.transferring import active_jobs, client_of, names_in, over, sha256, written
from tests.client.transferring import client as client
from tests.client.transferring import impatient as impatient
from tests.fixtures_local import FirecrestForTest

MIB = 1 << 20
LARGE = 9 * MIB + 17
"""Two pieces."""


@pytest.fixture
def planned(client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path) -> UploadPlan:
    """The plan of an upload in three pieces of 1 MiB, of which only the look is made."""
    return UploadPlan(tmp_path, f"{firecrest.directory}/data", 3 * MIB, "staged", firecrest.system)


def beside(plan: UploadPlan, suffix: str) -> Path:
    path = Path(plan.target + suffix)
    path.write_bytes(b"mine")
    return path


@pytest.mark.parametrize(
    ("size", "part_size", "number"),
    [(1, 8, 1), (8, 8, 1), (9, 8, 2), (20_000_000, 8_388_608, 3), (11 * MIB, 0, 3)],
)
def test_a_file_is_fetched_in_so_many_pieces(size: int, part_size: int, number: int) -> None:
    """20,000,000 bytes in parts of 8 MiB were three on a real server; without a word on their size, as many
    as any object store allows.
    """
    assert pieces_in(size, part_size) == number


@pytest.mark.parametrize("suffix", ["", ".0", ".4", ".10", ".01", ".1x", ".x1", "1", "..1"])
def test_only_the_names_of_pieces_are_refused(
    suffix: str, client: FirecrestClient, planned: UploadPlan
) -> None:
    beside(planned, suffix)
    assert check_beside(client, planned, MIB) == 3


@pytest.mark.parametrize("how", ["listed", "looked at one by one"])
@pytest.mark.parametrize("kind", ["file", "directory", "broken link"])
@pytest.mark.parametrize("name", ["data", "größe", "two words", ".hidden", "back\\slash", "-dash", "a[1]*"])
def test_whatever_has_the_name_of_a_piece_is_found(
    name: str, kind: str, how: str, client: FirecrestClient, firecrest: FirecrestForTest, planned: UploadPlan
) -> None:
    plan = replace(planned, target=f"{firecrest.directory}/{name}")
    path = Path(f"{plan.target}.3")
    if kind == "file":
        path.write_bytes(b"mine")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    if how != "listed":
        firecrest.fault("status", path_regex="ops/ls$", times=0, status=413)

    with pytest.raises(ConflictError) as raised:
        check_beside(client, plan, MIB)

    assert f"{name}.3 in {firecrest.directory}" in str(raised.value)


def test_of_many_names_that_are_taken_some_are_named(client: FirecrestClient, planned: UploadPlan) -> None:
    for number in range(1, 9):
        beside(planned, f".{number}")
    with pytest.raises(ConflictError, match=r"data\.1, .*data\.5 and 3 more in"):
        check_beside(client, replace(planned, size=8 * MIB), MIB)


@pytest.mark.parametrize("number", [64, 65])
def test_where_there_is_no_listing_the_first_names_are_looked_at_and_the_log_tells_of_the_others(
    number: int,
    client: FirecrestClient,
    firecrest: FirecrestForTest,
    planned: UploadPlan,
    caplog: pytest.LogCaptureFixture,
) -> None:
    firecrest.fault("status", path_regex="ops/ls$", times=0, status=408)
    beside(planned, f".{number}")
    plan = replace(planned, size=100 * MIB)

    if number == 64:
        with pytest.raises(ConflictError, match=r"data\.64 in"):
            check_beside(client, plan, MIB)
    else:
        assert check_beside(client, plan, MIB) == 64
        assert f"The names {plan.target}.65 to {plan.target}.100" in caplog.text


def test_a_look_that_nobody_can_make_fails_no_upload_and_the_log_says_so(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = written(tmp_path / "f", LARGE)
    plan = plan_upload(client, source, f"{firecrest.directory}/f")
    firecrest.fault("status", path_regex="ops/(ls|stat)$", times=0, status=403)

    with caplog.at_level(logging.WARNING):
        staged = stage_upload(client, plan)

    firecrest.clear_faults()
    finish_upload(client, staged, over(client, staged))
    assert sha256(firecrest.directory / "f") == sha256(source)
    assert staged.pieces == 0
    assert f"one of the names {plan.target}.1 to {plan.target}.2" in caplog.text


def test_an_outage_at_the_look_fails_the_try_and_sends_nothing(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    with client_of(firecrest, retry_budget=0.0) as hasty:
        plan = plan_upload(hasty, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")
        firecrest.fault("status", path_regex="ops/(ls|stat)$", times=0, status=503)

        with pytest.raises(UnavailableError):
            stage_upload(hasty, plan)

    assert not [each for each in firecrest.requests() if each["part"]]
    over(client, staged_of(firecrest))
    assert active_jobs(firecrest) == []


def staged_of(firecrest: FirecrestForTest) -> StagedUpload:
    [job] = firecrest.new_jobs()
    return StagedUpload("f", "f", 1, "", firecrest.system, job_id=job["id"])


def test_an_upload_that_is_gone_on_with_looks_again(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")
    kept: list[UploadState] = []

    def stop(state: UploadState) -> None:
        kept.append(state)
        if state.pieces:
            raise UnavailableError("the worker dies")

    with pytest.raises(UnavailableError):
        stage_upload(client, plan, save=stop, keep=True)
    assert (kept[-1].phase, kept[-1].pieces) == ("started", 2)
    mine = beside(plan, ".2")

    with pytest.raises(ConflictError, match=r"f\.2 in"):
        stage_upload(client, plan, state=kept[-1])

    assert mine.read_bytes() == b"mine"
    over(client, staged_of(firecrest))
    assert names_in(firecrest.directory) == ["f.2"]


def test_in_a_directory_of_its_own_nothing_is_looked_for(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f", in_place=True)

    staged = stage_upload(client, plan)

    finish_upload(client, staged, over(client, staged))
    assert not [each for each in firecrest.requests() if each["path"].endswith("/ops/ls")]
