"""The notations of sbatch: durations, moments, arrays, dependencies, options, file names, exports."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_provider_firecrest.local.slurm.arrays import ArraySpec, format_indices, parse_array
from airflow_provider_firecrest.local.slurm.dependencies import Condition, Verdict, parse_dependency
from airflow_provider_firecrest.local.slurm.environment import apply_export, login_environment
from airflow_provider_firecrest.local.slurm.errors import SbatchError
from airflow_provider_firecrest.local.slurm.filenames import NO_INDEX, FileNameValues, expand
from airflow_provider_firecrest.local.slurm.launch import interpreter, node_list
from airflow_provider_firecrest.local.slurm.options import parse_options, read_directives
from airflow_provider_firecrest.local.slurm.timespec import parse_begin, parse_time_limit

NOON = datetime(2026, 3, 10, 12, 0, 0).timestamp()
VALUES = FileNameValues("93", "87", 4, "my job", "fireuser", "nid001")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("2:00:10", 7210),
        ("1-0", 86400),
        ("1-2:30", 95400),
        ("0-00:15:00", 900),
        ("UNLIMITED", None),
        ("infinite", None),
        ("0", None),
    ],
)
def test_time_limits_are_read_in_all_of_slurms_notations(text: str, seconds: int | None) -> None:
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "1.5", "-5"])
def test_a_time_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time limit"):
        parse_time_limit(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOON),
        ("now+60", NOON + 60),
        ("now+2hours", NOON + 7200),
        ("now+1minute", NOON + 60),
        ("now+3days", NOON + 259200),
        ("13:30", NOON + 5400),
        ("11:00", NOON + 23 * 3600),
        ("midnight", NOON + 12 * 3600),
        ("teatime", NOON + 4 * 3600),
        ("tomorrow", NOON + 86400),
        ("2026-03-10T12:00:05", NOON + 5),
        ("2026-03-11", NOON + 12 * 3600),
    ],
)
def test_begin_times_are_read_in_slurms_notations(text: str, moment: float) -> None:
    assert parse_begin(text, NOON) == moment


@pytest.mark.parametrize("text", ["later", "now+2parsecs", "now-5", "25-13-01"])
def test_a_begin_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no begin time"):
        parse_begin(text, NOON)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-5", ArraySpec((0, 1, 2, 3, 4, 5))),
        ("1,3,7", ArraySpec((1, 3, 7))),
        ("0-10:5", ArraySpec((0, 5, 10))),
        ("0-3%2", ArraySpec((0, 1, 2, 3), 2)),
        ("5", ArraySpec((5,))),
        ("7,1-2%1", ArraySpec((1, 2, 7), 1)),
    ],
)
def test_array_notations_are_read(text: str, expected: ArraySpec) -> None:
    assert parse_array(text) == expected


@pytest.mark.parametrize("text", ["", "5-1", "a", "0-3:0", "0-1001", "1%x", "-1"])
def test_an_array_notation_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no array"):
        parse_array(text)


def test_pending_elements_are_written_as_ranges() -> None:
    assert format_indices([5, 2, 3, 4], 2) == "2-5%2"
    assert format_indices([0, 2, 3, 9]) == "0,2-3,9"


def test_dependencies_are_read_with_their_lists_and_their_or() -> None:
    both = parse_dependency("afterok:1:2,afterany:3_4")
    assert both.conditions == (
        Condition("afterok", "1"),
        Condition("afterok", "2"),
        Condition("afterany", "3_4"),
    )
    assert not both.any_of
    assert parse_dependency("afterok:1?afternotok:1").any_of
    assert parse_dependency("singleton").conditions == (Condition("singleton"),)
    assert parse_dependency("after:5+10").conditions == (Condition("after", "5"),)


@pytest.mark.parametrize(
    "text", ["afterok", "after:x", "sometime:5", "afterok:1,after:2?after:3", "singleton:4"]
)
def test_a_dependency_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no dependency"):
        parse_dependency(text)


@pytest.mark.parametrize(
    ("text", "verdicts", "together"),
    [
        ("afterok:1:2", (Verdict.YES, Verdict.YES), Verdict.YES),
        ("afterok:1:2", (Verdict.YES, Verdict.NOT_YET), Verdict.NOT_YET),
        ("afterok:1:2", (Verdict.NOT_YET, Verdict.NEVER), Verdict.NEVER),
        ("afterok:1?afterok:2", (Verdict.NEVER, Verdict.YES), Verdict.YES),
        ("afterok:1?afterok:2", (Verdict.NEVER, Verdict.NOT_YET), Verdict.NOT_YET),
        ("afterok:1?afterok:2", (Verdict.NEVER, Verdict.NEVER), Verdict.NEVER),
    ],
)
def test_conditions_combine_with_and_or_or(
    text: str, verdicts: tuple[Verdict, ...], together: Verdict
) -> None:
    said = dict(zip(("1", "2"), verdicts, strict=True))
    assert parse_dependency(text).verdict(lambda condition: said[condition.job_id]) is together


def test_directives_end_at_the_first_command_and_later_ones_win() -> None:
    script = """#!/bin/bash
# a comment
#SBATCH --job-name="two words" -n4   # trailing comment

#SBATCH --time 10 -A project
#SBATCH -n 2 --hold
echo now
#SBATCH --partition=late
"""
    assert read_directives(script) == {
        "job-name": "two words",
        "ntasks": "2",
        "time": "10",
        "account": "project",
        "hold": "",
    }


def test_options_may_be_shortened_joined_or_separate() -> None:
    words = ["--kill-on=yes", "-J", "name", "-c3", "--exclusive", "--mem=1G", "-H"]
    assert parse_options(words) == {
        "kill-on-invalid-dep": "yes",
        "job-name": "name",
        "cpus-per-task": "3",
        "exclusive": "",
        "mem": "1G",
        "hold": "",
    }


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--nosuchoption=1", "sbatch: unrecognized option '--nosuchoption=1'"),
        ("-y", "sbatch: invalid option -- 'y'"),
        ("--time", "sbatch: option '--time' requires an argument"),
        ("-t", "sbatch: option requires an argument -- 't'"),
        ("--mem-=1", "sbatch: option '--mem-=1' is ambiguous"),
    ],
)
def test_an_unreadable_directive_is_refused_as_sbatch_refuses_it(line: str, text: str) -> None:
    with pytest.raises(SbatchError) as caught:
        read_directives(f"#!/bin/sh\n#SBATCH {line}\n")
    assert caught.value.exit_status == 255
    assert caught.value.stderr == f'{text}\nTry "sbatch --help" for more information\n'


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("out.%j", "/w/out.93"),
        ("%A_%a", "/w/87_4"),
        ("%5j-%3a", "/w/00093-004"),
        ("%x.%u.%N", "/w/my job.fireuser.nid001"),
        ("100%%", "/w/100%"),
        ("%z", "/w/%z"),
        ("\\%j", "/w/%j"),
        ("/abs/%j", "/abs/93"),
        ("sub/dir/%j", "/w/sub/dir/93"),
    ],
)
def test_file_name_patterns_are_filled_in(pattern: str, name: str) -> None:
    assert expand(pattern, VALUES, "/w") == name


def test_a_job_that_is_no_element_has_slurms_no_value_for_an_index() -> None:
    values = FileNameValues("79", "79", NO_INDEX, "arr", "u", "n")
    assert expand("slurm-%A_%a.out", values, "/w") == "/w/slurm-79_4294967294.out"


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("ALL,A=1,B=two words", {"A": "1", "B": "two words"}),
        ("ALL,A=1,2,3,B=4", {"A": "1", "B": "4"}),
        ("ALL,A='1,2',B=3", {"A": "1,2", "B": "3"}),
        ("ALL,A=it's,B=2,C=3", {}),
        ('ALL,A=1,B=say "hi,C=3', {"A": "1"}),
        ("ALL,", {}),
        ("ALL,A=x=y", {"A": "x=y"}),
    ],
)
def test_an_export_list_is_cut_as_sbatch_cuts_it(text: str, added: dict[str, str]) -> None:
    login = login_environment("u", "/home/u")
    assert apply_export(text, login) == {**login, **added}


def test_export_none_leaves_only_the_login_basics() -> None:
    login = {**login_environment("u", "/home/u"), "EXTRA": "1"}
    assert "EXTRA" not in apply_export("NONE", login)
    assert apply_export("NONE", login)["HOME"] == "/home/u"
    assert apply_export("EXTRA", login)["EXTRA"] == "1"


def test_an_interpreter_line_has_at_most_one_argument() -> None:
    assert interpreter("#!/usr/bin/env python3 -u\n") == ["/usr/bin/env", "python3 -u"]
    assert interpreter("#! /bin/bash\n") == ["/bin/bash"]


def test_node_lists_are_shortened() -> None:
    assert node_list(["nid001"]) == "nid001"
    assert node_list(["nid001", "nid002", "nid003"]) == "nid[001-003]"
    assert node_list(["a", "b"]) == "a,b"
