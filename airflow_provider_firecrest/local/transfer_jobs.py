"""The batch scripts behind ``/filesystem/{system}/transfer``.

Knows: what the jobs do, say and hide. Must not know: HTTP, the scheduler.

The scripts keep the real ones' habits: paths are HTML-escaped on their way into the script, a failing tool
ends the job successfully with the truth only in the error log, and the exit code quoted there is always 0.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from airflow_provider_firecrest.local.api_ops_write import TAR_FLAGS
from airflow_provider_firecrest.local.bodies import CompressRequest, ExtractRequest

_WORKER = Path(__file__).with_name("transfer_worker.py")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}


@dataclass(frozen=True)
class FileJob:
    """One transfer job.

    Args:
        name: Slurm job name.
        title: what the first line of the log calls it.
        body: shell lines after that first line.
    """

    name: str
    title: str
    body: str

    def script(self, directives: Sequence[str]) -> str:
        """The batch script."""
        header = "\n".join(directives)
        first = f'echo "$(date -u) {self.title} Job (id:${{SLURM_JOB_ID}})"'
        return f"#!/bin/bash\n{header}\n\n{first}\n{self.body}\n"


def html_escape(text: str) -> str:
    """What the template engine of the real server does to every path it puts into a script."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def copy_job(source: str, target: str, *, dereference: bool) -> FileJob:
    """``transfer/cp``"""
    option = "--dereference " if dereference else ""
    command = f"cp {option}-R -- {_quoted(source)} {_quoted(target)}"
    return FileJob("CopyFiles", "Copy Files", _checked(command, "copy", "copied"))


def move_job(source: str, target: str) -> FileJob:
    """``transfer/mv``"""
    command = f"mv -- {_quoted(source)} {_quoted(target)}"
    return FileJob("MoveFiles", "Move Files", _checked(command, "move", "moved"))


def delete_job(path: str) -> FileJob:
    """``transfer/rm``"""
    command = f"rm -r --interactive=never -- {_quoted(path)}"
    return FileJob("DeleteFiles", "Delete Files", _checked(command, "delete", "deleted"))


def compress_job(body: CompressRequest) -> FileJob:
    """``transfer/compress``"""
    source = PurePosixPath(body.path)
    option = "--dereference " if body.dereference else ""
    flags = f"{option}-c{TAR_FLAGS[body.compression]}vf {_quoted(body.target_path)}"
    if body.match_pattern is None:
        command = f"tar {flags} -C {_quoted(str(source.parent))} {_quoted(source.name)}"
        return FileJob("CompressFiles", "Compress Files", _checked(command, "compress", "compressed"))
    find = f"find . -type f -regex {_quoted(body.match_pattern)} -print0"
    command = f"cd {_quoted(str(source.parent))}; {find} | tar {flags} --null --files-from -"
    shown = '    echo "Files compressed:"\n    echo "$answer"'
    return FileJob("CompressFiles", "Compress Files", _checked(command, "compress", "compressed", shown))


def extract_job(body: ExtractRequest) -> FileJob:
    """``transfer/extract``; the real server names this job CompressFiles too."""
    flags = f"-x{TAR_FLAGS[body.compression]}f"
    command = f"tar {flags} {_quoted(body.path)} -C {_quoted(body.target_path)}"
    return FileJob("CompressFiles", "Extract Files", _checked(command, "extract", "extracted"))


def idle_job(job: FileJob) -> FileJob:
    """The same job, saying it succeeded and doing nothing (a fault)."""
    done = [line for line in job.body.splitlines() if "successfully" in line]
    return FileJob(job.name, job.title, done[0].strip() if done else "true")


@dataclass(frozen=True)
class Hold:
    """Where an upload's job stops: at which piece, as long as which file exists, for how many seconds."""

    piece: int
    file: Path
    seconds: float


def ingress_job(
    path: str,
    urls: Sequence[str],
    part_size: int,
    interval: float,
    *,
    pretend: bool,
    hold: Hold | None = None,
) -> FileJob:
    """The job of ``transfer/upload``: waits for the object and writes it to ``path``.

    The path stands in double quotes, so the job's shell still executes ``$(...)`` and backticks in it.
    """
    extra = " pretend" if pretend else ""
    if hold is not None:
        extra += f" hold {hold.piece} {shlex.quote(str(hold.file))} {hold.seconds:g}"
    lines = [
        f'if [ -d "{html_escape(path)}" ]; then',
        '    echo "$(date -u) targetPath must point to a file path:  is a directory." >&2',
        "    exit 3",
        "fi",
        f"range_length={part_size}",
        f'target_file="{html_escape(path)}"',
        _worker(f'ingress "$0" "$target_file" "$range_length" {interval:g}{extra}', urls),
    ]
    return FileJob("IngressFileTransfer", "Ingress File Transfer", "\n".join(lines))


def egress_job(path: str, urls: Sequence[str], part_size: int) -> FileJob:
    """The job of ``transfer/download``: sends ``path`` to the object store.

    The path stands without quotes, so a blank or ``;`` in it cuts it.
    """
    lines = [
        f"input_file={html_escape(path)}",
        _worker(f'egress "$0" "$input_file" {part_size}', urls),
    ]
    return FileJob("OutgressFileTransfer", "Upload File", "\n".join(lines))


def _quoted(text: str) -> str:
    # Safe although unescaped: html_escape leaves no single quote.
    return f"'{html_escape(text)}'"


def _checked(command: str, verb: str, done: str, on_success: str = "") -> str:
    lines = [
        f"if answer=$({command}); then",
        f'    echo "$(date -u) Files were successfully {done}."',
        *([on_success] if on_success else []),
        "else",
        # The real scripts quote $? where it has already been overwritten.
        f'    echo "$(date -u) Unable to {verb} files exit code:0 error: $answer" >&2',
        "fi",
        "exit 0",
    ]
    return "\n".join(lines)


def _worker(arguments: str, urls: Sequence[str]) -> str:
    listed = "\n".join(urls)
    command = f"exec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(_WORKER))} {arguments}"
    return f"{command} <<'PRESIGNED_URLS'\n{listed}\nPRESIGNED_URLS"
