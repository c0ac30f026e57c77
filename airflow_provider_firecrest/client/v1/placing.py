"""Where a job starts, reads and writes on FirecREST v1.

v1 runs an uploaded script in a directory of its own (``$HOME/firecrest/<task>``), whatever ``#SBATCH
--chdir`` says. So the script itself goes where it was told to, and its streams are named by absolute paths.
Pure.
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass

from .. import script

logger = logging.getLogger("airflow_provider_firecrest.client")


@dataclass(frozen=True)
class Place:
    """What a call says of a job's directory and streams; None leaves it to the script, or to Slurm.

    :ivar working_dir: absolute path of the directory.
    :ivar stdin: path of the standard input.
    :ivar stdout: pattern of the standard output.
    :ivar stderr: pattern of the standard error.
    """

    working_dir: str | None = None
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None

    @property
    def matters(self) -> bool:
        """True when anything has to be written into a script."""
        return any((self.working_dir, self.stdin, self.stdout, self.stderr))

    def written_into(self, text: str) -> str:
        """Return a script that starts, reads and writes here.

        :param text: a script with a ``#!`` line.
        """
        options = script.directives(text)
        directory = options.get("chdir") or self.working_dir
        for name, path in self._streams(directory, options).items():
            text = script.set_directive(text, name, path)
        if not directory:
            return text
        if script.is_shell(text):
            return script.insert_before_commands(text, f"cd {shlex.quote(directory)} || exit 1")
        logger.warning(
            "FirecREST v1 starts every job in a directory of its own: this script (%s) must go to %s itself.",
            script.interpreter(text),
            directory,
        )
        return text

    def _streams(self, directory: str | None, options: dict[str, str]) -> dict[str, str]:
        wanted = {"input": self.stdin, "output": self.stdout, "error": self.stderr}
        if not directory:
            return {name: path for name, path in wanted.items() if path}
        out, err = script.stream_patterns(
            working_dir=directory,
            stdout=self.stdout,
            stderr=self.stderr,
            script_options=options,
            array="array" in options,
        )
        found = {"output": out, "error": err}
        stdin = self.stdin or options.get("input")
        if stdin:
            found["input"] = script.absolute_pattern(stdin, directory)
        return found
