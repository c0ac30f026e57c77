"""Batch scripts and job names before they are sent: repaired, refused with the reason, or left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import script
from airflow_provider_firecrest.client.errors import InvalidRequestError

from .recorded import load

GOOD = "#!/bin/bash -l\n#SBATCH --time=1\n\nhostname\n"


# prepare


def test_a_good_script_is_left_as_it_is() -> None:
    assert script.prepare(GOOD) == script.Prepared(GOOD, ())


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_windows_line_ends_are_repaired_and_told(line_end: str) -> None:
    prepared = script.prepare(GOOD.replace("\n", line_end))

    assert prepared.text == GOOD
    assert "line ends" in prepared.repairs[0]


def test_a_carriage_return_within_a_line_is_the_authors() -> None:
    text = "#!/bin/bash\nprintf 'part 1\rpart 2\\n'\n"
    assert script.prepare(text) == script.Prepared(text, ())


def test_a_byte_order_mark_is_removed_and_told() -> None:
    prepared = script.prepare("\ufeff" + GOOD)

    assert prepared.text == GOOD
    assert "byte order mark" in prepared.repairs[0]


def test_blank_lines_before_the_first_are_removed_and_told() -> None:
    """A triple-quoted Python string starts with one."""
    prepared = script.prepare("\n\n   " + GOOD)

    assert prepared.text == GOOD
    assert "blank lines" in prepared.repairs[0]


def test_a_missing_last_line_end_is_added() -> None:
    assert script.prepare("#!/bin/sh\ntrue").text == "#!/bin/sh\ntrue\n"


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\ufeff", "\r\n"])
def test_an_empty_script_is_refused(text: str) -> None:
    """The server would hang for five seconds and say 408."""
    with pytest.raises(InvalidRequestError, match=r"^script: empty"):
        script.prepare(text)


@pytest.mark.parametrize(
    "text", ["hostname\n", "# comment\n#!/bin/bash\n", "/scratch/me/job.sh", "x\n#!/bin/sh\n"]
)
def test_a_script_without_an_interpreter_is_refused_with_its_first_line(text: str) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"^script: the first line must name an interpreter"
    ) as raised:
        script.prepare(text)
    assert text.splitlines()[0][:30] in str(raised.value)


def test_half_a_character_is_refused_with_its_line() -> None:
    """What a file read with ``surrogateescape`` leaves; it cannot be encoded for the wire."""
    with pytest.raises(InvalidRequestError, match=r"^script: line 2 holds '\\udce4', half of a character"):
        script.prepare("#!/bin/sh\necho M\udce4rz\n")


def test_a_binary_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="NUL"):
        script.prepare("#!/bin/sh\n\x00\x01")


@pytest.mark.parametrize(
    ("first_line", "name", "shell"),
    [
        ("#!/bin/bash -l", "bash", True),
        ("#!/usr/bin/env bash", "bash", True),
        ("#!/usr/bin/env -S bash -l", "bash", True),
        ("#!/usr/bin/env LANG=C sh", "sh", True),
        ("#! /bin/sh", "sh", True),
        ("#!/bin/zsh", "zsh", True),
        ("#!/usr/bin/python3", "python3", False),
        ("#!/usr/bin/env python3", "python3", False),
        ("#!/bin/tcsh", "tcsh", False),
        ("#!/bin/csh -f", "csh", False),
        ("#!", "", False),
    ],
)
def test_the_interpreter_is_known(first_line: str, name: str, shell: bool) -> None:
    assert script.interpreter(first_line + "\ntrue\n") == name
    assert script.is_shell(first_line + "\ntrue\n") is shell


# directives


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("#SBATCH --job-name=abc", {"job-name": "abc"}),
        ("#SBATCH --job-name abc", {"job-name": "abc"}),
        ("#SBATCH -J abc", {"job-name": "abc"}),
        ("#SBATCH -Jabc", {"job-name": "abc"}),
        ('#SBATCH --job-name="a b"', {"job-name": "a b"}),
        ("#SBATCH -o out.txt -e err.txt", {"output": "out.txt", "error": "err.txt"}),
        ("#SBATCH --array=0-5%2   # six", {"array": "0-5%2"}),
        ("#SBATCH --exclusive", {"exclusive": ""}),
        ("#SBATCH --exclusive --nodes=2", {"exclusive": "", "nodes": "2"}),
        ("#SBATCH\t--time=1", {"time": "1"}),
        ("#SBATCH", {}),
        ("##SBATCH --time=1", {}),
        ("#SBATCHX --time=1", {}),
        (" #SBATCH --time=1", {}),
        ("# SBATCH --time=1", {}),
        ('#SBATCH --comment="unclosed', {}),
    ],
)
def test_directives_are_read_as_sbatch_reads_them(line: str, expected: dict[str, str]) -> None:
    assert script.directives(f"#!/bin/bash\n{line}\nhostname\n") == expected


def test_the_last_of_two_directives_wins() -> None:
    assert script.directives("#!/bin/sh\n#SBATCH -J a\n#SBATCH --job-name=b\n") == {"job-name": "b"}


def test_directives_end_at_the_first_command() -> None:
    text = "#!/bin/sh\n# a comment\n\n#SBATCH -J a\nmodule load x\n#SBATCH -J b\n"

    assert script.directives(text) == {"job-name": "a"}


@pytest.mark.parametrize("value", ["0-9", "a b", "a#b", "x%y", "logs/%x-%j.out"])
def test_a_directive_that_is_set_wins_over_those_there_are(value: str) -> None:
    text = "#!/bin/sh\n#SBATCH --array=1-3\n\n# note\nhostname\n"

    changed = script.set_directive(text, "array", value)

    assert script.directives(changed)["array"] == value
    assert changed.startswith("#!/bin/sh\n")
    assert changed.endswith("\n\n# note\nhostname\n")


def test_a_directive_is_set_in_a_script_that_has_none() -> None:
    assert script.set_directive("#!/bin/sh\nhostname\n", "array", "0-1") == (
        "#!/bin/sh\n#SBATCH --array=0-1\nhostname\n"
    )


def test_a_directive_cannot_smuggle_another_line_in() -> None:
    with pytest.raises(InvalidRequestError, match="line break"):
        script.set_directive(GOOD, "array", "0-1\nrm -rf /")


# env


def test_plain_values_travel_as_they_are() -> None:
    env = {"A": "plain", "B": "with space", "C": "x=y", "D": "/a/b:c", "E": "", "_F9": "1.5e-3"}

    assert script.fold_env(GOOD, env) == (GOOD, env)


TRICKY = {
    "COMMA": "a,b,c",
    "QUOTES": "q'u\"ote",
    "SHELL": "$HOME `id` $(id)",
    "LINES": "one\ntwo",
    "BACK": "a\\b",
    "UNICODE": "zürich 日本",
    "GLOB": "*.txt ?",
    "STAR": "!; & | < >",
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="runs the script with bash, which is not here")
def test_values_the_server_would_cut_arrive_unchanged_through_the_script(tmp_path: Path) -> None:
    """The oracle is bash itself."""
    body = "#!/bin/bash\n#SBATCH --time=1\nenv -0\n"

    text, sent = script.fold_env(body, {**TRICKY, "PLAIN": "x"})

    assert sent == {"PLAIN": "x"}
    assert text is not None
    assert script.directives(text) == {"time": "1"}
    path = tmp_path / "job.sh"
    path.write_text(text)
    output = subprocess.run(["bash", path], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    found = dict(each.split("=", 1) for each in output.stdout.decode().split("\0") if "=" in each)
    assert {name: found[name] for name in TRICKY} == TRICKY


def test_the_values_that_a_real_server_lost_are_among_those_moved() -> None:
    recorded = load("submit_env_dict")["request"]["json"]["job"]["env"]

    _, sent = script.fold_env(GOOD, recorded)

    assert set(sent) == {"A1", "B1", "F1"}


@pytest.mark.parametrize(
    ("text", "why"), [(None, "a script on the system"), ("#!/usr/bin/python3\n", "a python3 script")]
)
def test_a_value_that_can_travel_neither_way_is_refused_by_its_name(text: str | None, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"env: LIST holds a comma.*{why}"):
        script.fold_env(text, {"LIST": "a,b"})


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A,B", "ü", 5, None])
def test_a_name_that_is_no_variable_is_refused(name: Any) -> None:
    with pytest.raises(InvalidRequestError, match="is not a variable name"):
        script.fold_env(GOOD, {name: "x"})


@pytest.mark.parametrize("value", [5, None, 1.5, True, ["a"]])
def test_a_value_that_is_no_text_is_refused_by_its_name(value: Any) -> None:
    """The server would answer 400 with its own field names."""
    with pytest.raises(InvalidRequestError, match=r"env: N is .* not text"):
        script.fold_env(GOOD, {"N": value})


def test_a_value_that_is_none_is_not_advised_to_become_a_text() -> None:
    with pytest.raises(InvalidRequestError, match=r"N is NoneType, not text; leave it out\."):
        script.fold_env(GOOD, {"N": None})


def test_a_nul_in_a_value_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="NUL"):
        script.fold_env(GOOD, {"N": "a\x00b"})


def test_no_env_changes_nothing() -> None:
    assert script.fold_env(GOOD, None) == (GOOD, {})
    assert script.fold_env(None, {}) == (None, {})


# job names


@pytest.mark.parametrize("name", ["a", "my job", "ünï", "a.b-c_d", "x" * 235, "it's", "a/b", "a%b"])
def test_a_name_that_can_be_looked_up_is_sent(name: str) -> None:
    assert script.check_job_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a|b", "everybody"),
        ("a,b", "looked up"),
        ("a\nb", "control"),
        ("a\x00b", "control"),
        ("a\tb", "control"),
        ("", "empty"),
        ("  ", "empty"),
        ("x" * 236, "235"),
    ],
)
def test_a_name_that_does_harm_or_cannot_be_looked_up_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^job_name: ") as raised:
        script.check_job_name(name)
    assert why in str(raised.value)


def test_the_name_that_broke_the_list_on_a_real_server_is_refused() -> None:
    recorded = load("submit_name_special")["request"]["json"]["job"]["name"]
    assert load("jobs_list_poisoned_by_pipe_in_job_name")["response"]["status"] == 500

    with pytest.raises(InvalidRequestError):
        script.check_job_name(recorded)


# output files


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("slurm-%j.out", "slurm-87.out"),
        ("%x-%u.log", "name-me.log"),
        ("%A_%a", "87_3"),
        ("%5j", "00087"),
        ("%3a", "003"),
        ("%99j", "0000000087"),
        ("100%%-%j", "100%-87"),
        ("%%j", "%j"),
        ("%N-%j", "%N-87"),
        ("%2x", "name"),
        ("plain", "plain"),
        ("%", "%"),
        ("%q", "%q"),
    ],
)
def test_file_name_patterns_are_expanded_as_far_as_they_are_known(pattern: str, expected: str) -> None:
    assert script.expand(pattern, job_id="87", name="name", user="me", task_index=3) == expected


def test_what_is_not_known_stays_a_pattern() -> None:
    assert script.expand("%x-%u-%a-%A", job_id="87") == "%x-%u-%a-87"


def test_percent_j_of_an_array_element_is_its_raw_id() -> None:
    assert script.expand("%A_%a-%j", job_id="87", task_index=0, element_id="92") == "87_0-92"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("/w/slurm-%j.out", "/w/slurm-%j.out")),
        ({"array": True}, ("/w/slurm-%A_%a.out", "/w/slurm-%A_%a.out")),
        ({"stdout": "o"}, ("/w/o", "/w/o")),
        ({"stdout": "/abs/o", "stderr": "./e"}, ("/abs/o", "/w/e")),
        ({"stderr": "e"}, ("/w/slurm-%j.out", "/w/e")),
        ({"script_options": {"output": "so", "error": "se"}}, ("/w/so", "/w/se")),
        ({"script_options": {"output": "so"}, "stdout": "o"}, ("/w/o", "/w/o")),
        ({"script_options": {"error": "se"}, "stdout": "o"}, ("/w/o", "/w/se")),
    ],
)
def test_output_goes_where_the_call_says_then_the_script_then_slurm(
    given: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert script.stream_patterns(working_dir="/w/", **given) == expected


def test_a_percent_sign_in_the_directory_is_no_pattern() -> None:
    out, err = script.stream_patterns(working_dir="/w/50%j", stdout="o-%j", stderr="/e/%j")
    assert [script.expand(each, job_id="7") for each in (out, err)] == ["/w/50%j/o-7", "/e/7"]


@pytest.mark.parametrize("name", ["submit_stdio", "submit_stdio_relative"])
def test_the_streams_of_recorded_submits_are_where_they_were_asked_for(name: str) -> None:
    asked = load(name)["request"]["json"]["job"]

    out, err = script.stream_patterns(
        working_dir=asked["workingDirectory"],
        stdout=asked.get("standardOutput"),
        stderr=asked.get("standardError"),
    )

    for path in (out, err):
        assert path.startswith("/scratch/fireuser/jobs/")
