"""The places at which tests kill the process: it dies only where the environment says so, and as often."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from airflow_provider_firecrest._crash_points import POINTS, VARIABLE

PACKAGE = Path(__file__).resolve().parents[2] / "airflow_provider_firecrest"
PROGRAM = """
from airflow_provider_firecrest._crash_points import crash_point
crash_point("after_post")
crash_point("after_store")
"""


def exit_code(wish: str | None) -> int:
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if wish is not None:
        env[VARIABLE] = wish
    return subprocess.run([sys.executable, "-c", PROGRAM], env=env, check=False, timeout=30).returncode


def test_nothing_happens_without_the_variable() -> None:
    assert exit_code(None) == 0
    assert exit_code("") == 0


def test_the_process_is_killed_at_the_named_place_only() -> None:
    assert exit_code("after_store") == -signal.SIGKILL
    assert exit_code("before_submit") == 0


def test_with_a_file_it_dies_once(tmp_path: Path) -> None:
    wish = f"before_submit,after_post:{tmp_path / 'once'}"
    assert [exit_code(wish), exit_code(wish)] == [-signal.SIGKILL, 0]


def test_every_place_in_the_code_has_a_known_name_and_every_name_a_place() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name != "_crash_points.py":
            found |= set(re.findall(r'crash_point\("(\w+)"\)', path.read_text()))
    assert found == POINTS
