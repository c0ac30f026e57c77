"""FirecREST v1 starts every job in a directory of its own; the script goes where the call said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_provider_firecrest.client import script
from airflow_provider_firecrest.client.v1.placing import Place

SHELL = "#!/bin/bash\n#SBATCH --time=5\npwd\n"


def directives(text: str) -> dict[str, str]:
    return script.directives(text)


def test_the_commands_run_in_the_directory_and_the_streams_are_there(tmp_path: Path) -> None:
    there = tmp_path / "it's here"
    there.mkdir()
    text = Place(str(there)).written_into(SHELL)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == f"{there}\n"
    assert directives(text)["output"] == directives(text)["error"] == f"{there}/slurm-%j.out"
    assert directives(text)["time"] == "5"


def test_a_missing_directory_ends_the_job_before_its_first_command(tmp_path: Path) -> None:
    text = Place(str(tmp_path / "missing")).written_into(SHELL)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("place", "more", "expected"),
    [
        (Place("/w", stdout="o-%j", stderr="e-%j"), "", {"output": "/w/o-%j", "error": "/w/e-%j"}),
        (Place("/w", stdout="/logs/o"), "", {"output": "/logs/o"}),
        (Place("/w", stdin="deck.in"), "", {"input": "/w/deck.in"}),
        (Place("/w"), "#SBATCH --array=0-3\n", {"output": "/w/slurm-%A_%a.out"}),
        (Place("/w"), "#SBATCH -o out.txt -i deck.in\n", {"output": "/w/out.txt", "input": "/w/deck.in"}),
        (Place("/w"), "#SBATCH -D /elsewhere\n", {"output": "/elsewhere/slurm-%j.out"}),
        (Place("/50%j", stdout="o-%j"), "", {"output": "/50%%j/o-%j", "error": "/50%%j/o-%j"}),
        (Place("/50%j", stdin="in"), "", {"input": "/50%%j/in"}),
        (Place(stdout="o"), "", {"output": "o"}),
    ],
)
def test_streams(place: Place, more: str, expected: dict[str, str]) -> None:
    text = place.written_into(f"#!/bin/bash\n{more}pwd\n")
    found = directives(text)
    assert {name: found[name] for name in expected} == expected


def test_another_language_is_left_alone_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    text = Place("/w").written_into("#!/usr/bin/python3\nprint(1)\n")
    assert "cd " not in text
    assert "must go to /w itself" in caplog.text


def test_without_a_place_nothing_changes() -> None:
    assert Place().written_into(SHELL) == SHELL
    assert not Place().matters
