"""Child processes end when they should, whatever happens to their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_firecrest.local.processes import ChildProcess, Guard, kill_leftovers, stop_all, tail

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(),
    reason="looks at other processes through /proc, which is not there",
)

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(300)
"""

# A parent that starts a stubborn child under a guard, and prints the child's id.
PARENT = """
import os, sys
from pathlib import Path
from airflow_provider_firecrest.local.processes import ChildProcess, Guard
folder = Path(sys.argv[1])
guard = Guard("TEST_MARK", sys.argv[2], remove=folder)
child = ChildProcess("child", [sys.executable, "-c", sys.argv[3]], env=os.environ, log_path=folder / "log")
guard.watch(child)
print(child.pid, flush=True)
sys.stdin.read()
"""


def eventually(condition: Callable[[], bool], timeout: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    """Whether the process still does something; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    # given a child that has begun to ignore SIGTERM
    log = tmp_path / "log"
    child = ChildProcess("stubborn", [sys.executable, "-c", STUBBORN], env=os.environ, log_path=log)
    assert eventually(lambda: "ready" in child.log_tail())

    # when it is stopped with little patience
    stop_all([child], grace=0.3)

    # then it died of SIGKILL
    assert child.exit_code() == -signal.SIGKILL


@needs_proc
def test_a_childs_own_process_group_is_ended_with_it(tmp_path: Path) -> None:
    # given a shell with a child of its own
    command = ["/bin/sh", "-c", "sleep 300 & echo $!; wait"]
    child = ChildProcess("shell", command, env=os.environ, log_path=tmp_path / "log")
    assert eventually(lambda: child.log_tail().strip().isdigit())
    grandchild = int(child.log_tail())

    # when the shell is stopped
    stop_all([child], grace=2)

    # then the grandchild is gone too
    assert eventually(lambda: not alive(grandchild))


@needs_proc
def test_a_process_that_left_the_group_is_found_by_its_environment(tmp_path: Path) -> None:
    # given a process in a session of its own that carries the mark, and one that does not
    command = [sys.executable, "-c", "print('ready', flush=True); import time; time.sleep(300)"]
    marked = ChildProcess("a", command, env={**os.environ, "TEST_MARK": "one"}, log_path=tmp_path / "a")
    other = ChildProcess("b", command, env={**os.environ, "TEST_MARK": "other"}, log_path=tmp_path / "b")
    assert eventually(lambda: "ready" in marked.log_tail() and "ready" in other.log_tail())

    # when what is left of the mark is killed
    killed = kill_leftovers("TEST_MARK", "one")

    # then it was that process and no other
    assert killed == [marked.pid]
    assert marked.wait(5) == -signal.SIGKILL
    assert other.exit_code() is None
    stop_all([other], grace=2)


@needs_proc
def test_the_guard_ends_the_children_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    # given a parent with a child that ignores SIGTERM
    folder = tmp_path / "home"
    folder.mkdir()
    command = [sys.executable, "-c", PARENT, str(folder), f"mark-{os.getpid()}", STUBBORN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)

        # when the parent has no chance to clean up
        parent.kill()

    # then the child is gone, and the folder with it
    assert eventually(lambda: not alive(child) and not folder.exists())


def test_a_dismissed_guard_does_nothing(tmp_path: Path) -> None:
    # given a guard of a folder
    guard = Guard("TEST_MARK", "dismissed", remove=tmp_path)

    # when it is dismissed
    guard.dismiss()

    # then the folder is still there
    assert tmp_path.exists()


def test_the_tail_of_a_large_log_is_its_last_lines(tmp_path: Path) -> None:
    # given a log of many lines
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))

    # when its tail is read, then these are the last lines; a missing file has none
    assert tail(log, 2) == "line 99998\nline 99999"
    assert tail(tmp_path / "missing") == ""
