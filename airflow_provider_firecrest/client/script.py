"""Batch scripts before they are sent: what Slurm or FirecREST would refuse, cut or misread is refused or
repaired here.

Pure functions on text. Knows sbatch's rules (shebang, `#SBATCH` block, file name patterns) and how FirecREST
passes the
environment on (`sbatch --export=ALL,K=V,...`: a comma or a quote in a value loses the rest without a word).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import limits
from .errors import InvalidRequestError

_SHORT = {
    "A": "account",
    "a": "array",
    "C": "constraint",
    "c": "cpus-per-task",
    "D": "chdir",
    "d": "dependency",
    "e": "error",
    "i": "input",
    "J": "job-name",
    "n": "ntasks",
    "N": "nodes",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
}
_SHELLS = ("sh", "bash", "dash", "ksh", "zsh", "ash")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What `--export` certainly carries as it is; everything else travels inside the script.
_ENV_PLAIN = re.compile(r"[A-Za-z0-9_ ./:=@%+~-]*")
_PATTERN = re.compile(r"%(\d*)([%AaJjNnstuxb])")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NEXT_COMPONENT = re.compile(r"#SBATCH\s+(hetjob|packjob)\b")
_NAME_UNSAFE = re.compile(r"[|,\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Prepared:
    """A script that can be sent, and what had to be repaired for it."""

    text: str
    repairs: tuple[str, ...] = ()


def prepare(script: str) -> Prepared:
    """Check a batch script and repair what can be repaired without changing its meaning.

    :param script: text of the script.
    :returns: the script with Unix line ends, and what was done to it.
    :raises InvalidRequestError: it is empty, has no ``#!`` line, or holds NUL bytes or half characters.
    """
    text, repairs = script, []
    if text.startswith("\ufeff"):
        text = text[1:]
        repairs.append("removed the byte order mark before the first line")
    line_end = "\r\n" if "\n" in text else "\r"
    if line_end in text:
        # A carriage return within a line is the author's, and Slurm minds it not.
        text = text.replace(line_end, "\n")
        repairs.append("changed Windows line ends to Unix ones (Slurm refuses the others)")
    if not text.strip():
        raise InvalidRequestError("script: empty.")
    if "\x00" in text:
        raise InvalidRequestError("script: holds a NUL byte; is it a binary? Give its path as remote_script.")
    broken = _SURROGATE.search(text)
    if broken:
        line = text.count("\n", 0, broken.start()) + 1
        raise InvalidRequestError(
            f"script: line {line} holds {broken.group()!r}, half of a character, which cannot be sent;"
            " was the script read in another encoding than UTF-8?"
        )
    if not text.startswith("#!"):
        stripped = text.lstrip()
        if not stripped.startswith("#!"):
            first = text.strip().splitlines()[0][:60]
            raise InvalidRequestError(
                "script: the first line must name an interpreter, for example '#!/bin/bash -l';"
                f" it is {first!r}. Slurm refuses such a script."
            )
        text = stripped
        repairs.append("removed the blank lines before '#!'")
    if not text.endswith("\n"):
        text += "\n"
    return Prepared(text, tuple(repairs))


def check_size(script: str, limit: int) -> None:
    """Refuse a script that Slurm refuses, in words that do not speak of a pathname.

    :param script: text of the script, as it is sent.
    :param limit: bytes that the site's Slurm takes.
    :raises InvalidRequestError: it is larger.
    """
    size = len(script.encode())
    if size > limit:
        raise InvalidRequestError(
            f"script: {size} bytes as it is sent; Slurm takes {limit} at most. Put the data into a file on"
            " the system and let the script read it. If the site has raised Slurm's limit, say so in the"
            " connection's max_script_size."
        )


def interpreter(script: str) -> str:
    """Return the name of the interpreter in the ``#!`` line: ``bash`` for ``#!/usr/bin/env bash -l``."""
    words = script.split("\n", 1)[0].removeprefix("#!").split()
    names = [word.rsplit("/", 1)[-1] for word in words]
    if names and names[0] == "env":
        names = [name for name in names[1:] if not name.startswith("-") and "=" not in name]
    return names[0] if names else ""


def is_shell(script: str) -> bool:
    """Return whether a script is run by a Bourne-like shell."""
    return interpreter(script) in _SHELLS


def directives(script: str) -> dict[str, str]:
    """Return the ``#SBATCH`` options of a script by their long names; the last one wins, as in sbatch.

    :param script: text of the script; only lines before the first command count, and of a heterogeneous job
        those of its first component, which runs the script.
    """
    found: dict[str, str] = {}
    for line in _block(script):
        if _NEXT_COMPONENT.match(line):
            break
        if not re.match(r"#SBATCH\s", line):
            continue
        for name, value in _options(line[len("#SBATCH") :]):
            found[name] = value
    return found


def set_directive(script: str, name: str, value: str) -> str:
    """Return the script with ``#SBATCH --name=value`` as the last of its directives, so that it wins.

    Of a heterogeneous job, as the last one of the first component: that one runs the script, and its id is
    the job's.

    :param script: text of a script with a ``#!`` line.
    :param name: long option name.
    :param value: its value; no line break.
    :raises InvalidRequestError: the value holds a line break.
    """
    if "\n" in value or "\r" in value:
        raise InvalidRequestError(f"{name}: must not hold a line break.")
    quoted = value if re.fullmatch(r"[^\s\"'#]+", value) else '"' + value.replace('"', "") + '"'
    line = f"#SBATCH --{name}={quoted}"
    for index, each in enumerate(_block(script)):
        if _NEXT_COMPONENT.match(each):
            lines = script.split("\n")
            return "\n".join([*lines[:index], line, *lines[index:]])
    return insert_before_commands(script, line)


def fold_env(script: str | None, env: Mapping[str, str] | None) -> tuple[str | None, dict[str, str]]:
    """Move environment values that the server would cut into the script, as ``export`` lines after the
    directives.

    :param script: text of the script; None for a script on the system.
    :param env: variables by name.
    :returns: the script, and the variables that can be sent as they are.
    :raises InvalidRequestError: a name is no variable name, a value no text, or a value can travel neither
        way.
    """
    plain: dict[str, str] = {}
    exports: list[str] = []
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
            raise InvalidRequestError(f"env: {name!r} is not a variable name.")
        if not isinstance(value, str):
            raise InvalidRequestError(
                f"env: {name} is {type(value).__name__}, not text;"
                f" {'leave it out' if value is None else f'write str({value!r})'}."
            )
        if "\x00" in value:
            raise InvalidRequestError(f"env: {name} holds a NUL byte.")
        if _ENV_PLAIN.fullmatch(value):
            plain[name] = value
        elif script is not None and is_shell(script):
            exports.append(f"export {name}={shlex.quote(value)}")
        else:
            why = (
                "a script on the system"
                if script is None
                else f"a {interpreter(script) or 'non-shell'} script"
            )
            raise InvalidRequestError(
                f"env: {name} holds a comma, a quote or another character that FirecREST loses,"
                f" and {why} cannot be given an export line. Set it inside the script."
            )
    if exports and script is not None:
        script = insert_before_commands(script, "\n".join(exports))
    return script, plain


def check_job_name(name: str) -> str:
    """Return a job name that can be sent.

    :raises InvalidRequestError: it is empty, too long, or holds ``|`` (breaks the job list for everybody),
        ``,`` (such a job
        cannot be looked up) or a control character.
    """
    found = _NAME_UNSAFE.search(name)
    if found:
        reasons = {"|": "it breaks the job list for everybody", ",": "such a job cannot be looked up by name"}
        reason = reasons.get(found.group(), "control characters cannot be sent")
        raise InvalidRequestError(f"job_name: {name!r} contains {found.group()!r}; {reason}.")
    if not name.strip():
        raise InvalidRequestError("job_name: empty.")
    if len(name) > limits.MAX_JOB_NAME:
        raise InvalidRequestError(
            f"job_name: {len(name)} characters; at most {limits.MAX_JOB_NAME} can be looked up."
        )
    return name


def expand(
    pattern: str,
    *,
    job_id: str,
    name: str = "",
    user: str = "",
    task_index: int | None = None,
    element_id: str | None = None,
) -> str:
    """Expand Slurm's file name patterns as far as they are known.

    :param pattern: for example ``logs/%x-%A_%a.out``.
    :param job_id: ``%A``, and ``%j`` of a plain job.
    :param name: ``%x``.
    :param user: ``%u``.
    :param task_index: ``%a``; None leaves it.
    :param element_id: ``%j`` of an array element (its raw id).
    :returns: the path; what is not known (node names) stays a pattern.
    """
    known = {
        "A": job_id,
        "x": name,
        "u": user,
        "%": "%",
        "a": None if task_index is None else str(task_index),
    }
    known["j"] = known["J"] = element_id or job_id

    def replacement(match: re.Match[str]) -> str:
        value = known.get(match.group(2))
        if not value:
            return match.group(0)
        width = int(match.group(1) or 0)
        return value.zfill(min(width, 10)) if match.group(2) in "Aaj" else value

    return _PATTERN.sub(replacement, pattern)


def stream_patterns(
    *,
    working_dir: str,
    stdout: str | None = None,
    stderr: str | None = None,
    script_options: Mapping[str, str] | None = None,
    array: bool = False,
) -> tuple[str, str]:
    """Say where a job's output goes, as patterns: what the call names, else what the script names, else
    Slurm's default.

    :param working_dir: directory the job starts in.
    :param stdout: the call's.
    :param stderr: the call's.
    :param script_options: :func:`directives` of the script.
    :param array: whether the job is an array.
    :returns: absolute patterns of standard output and standard error (the same one unless it was parted).
    """
    options = script_options or {}
    default = "slurm-%A_%a.out" if array else "slurm-%j.out"
    out = stdout or options.get("output") or default
    err = stderr or options.get("error") or out
    return absolute_pattern(out, working_dir), absolute_pattern(err, working_dir)


def absolute_pattern(path: str, working_dir: str) -> str:
    """Return a stream's file name pattern as an absolute one.

    :param path: the pattern; a relative one counts from ``working_dir``.
    :param working_dir: absolute path of a directory; no pattern.
    """
    if path.startswith("/"):
        return path
    # A directory's name is no pattern: its percent signs stand for themselves.
    return f"{working_dir.rstrip('/').replace('%', '%%')}/{path.removeprefix('./')}"


def _block(script: str) -> Iterator[str]:
    """The comment block at the top: sbatch reads directives up to the first line that is neither blank nor a
    comment.
    """
    for line in script.split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            return
        yield line


def insert_before_commands(script: str, text: str) -> str:
    """Put text behind the last directive (or the ``#!`` line), before the first command.

    :param script: text of a script with a ``#!`` line.
    :param text: one or more whole lines.
    """
    lines = script.split("\n")
    block = list(_block(script))
    last = max((index for index, line in enumerate(block) if line.startswith(("#!", "#SBATCH"))), default=0)
    return "\n".join([*lines[: last + 1], text, *lines[last + 1 :]])


def _options(text: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and words and not words[0].startswith("-"):
                value = words.pop(0)
            yield name, value
        elif word.startswith("-") and len(word) > 1:
            value = word[2:] or (words.pop(0) if words and not words[0].startswith("-") else "")
            yield _SHORT.get(word[1], word[1]), value
