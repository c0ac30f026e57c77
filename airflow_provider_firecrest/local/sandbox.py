"""The file tree the server publishes: two file systems, two users, and what each may not touch.

Knows: real directories, modes and capabilities. Must not know: HTTP.

The tree must refuse what a real cluster refuses even when the server runs as root, where permission bits
do not count. A root process without capabilities is bound by them, and so is every process it starts: the
server gives its capabilities up once the tree is made, and no call and no job needs a check of its own. What
belongs to the second user is simply closed to us, because an ordinary user cannot give files away.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from airflow_provider_firecrest.local.config import FileSystem, LocalConfig

_PR_CAPBSET_DROP = 24
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_HIGHEST_CAPABILITY = 63

_NO_ACCESS = getattr(os, "O_PATH", os.O_RDONLY)
"""Opens a file without its being read; not every system knows that."""


class Sandbox:
    """Directories below one root: ``home`` and ``scratch`` with a directory for each user.

    Args:
        config: settings; ``config.root`` None makes a temporary root that `close` removes.
    """

    def __init__(self, config: LocalConfig) -> None:
        self._temporary = config.root is None
        root = Path(tempfile.mkdtemp(prefix="firecrest-")) if config.root is None else config.root
        # Resolved, because clients compare the paths they send with those they get back.
        self.root = root.resolve()
        self.home = self.root / "home"
        self.scratch = self.root / "scratch"
        self.state = self.root / ".state"
        self.user = config.user
        self.other_user = config.other_user
        self.user_home = self.home / config.user
        self.user_scratch = self.scratch / config.user
        self._groups: dict[tuple[int, int], str] = {}
        self._held: list[int] = []
        self._make()

    def _make(self) -> None:
        for directory in (self.user_home, self.user_scratch, self.state):
            directory.mkdir(parents=True, exist_ok=True)
        other_home = self.home / self.other_user
        if not other_home.exists():
            other_home.mkdir()
            (other_home / ".bashrc").write_text("# .bashrc\n")
            (other_home / ".bashrc").chmod(0o444)
            other_home.chmod(0o555)
        other_scratch = self.scratch / self.other_user
        if not other_scratch.exists():
            other_scratch.mkdir(mode=0o000)
            other_scratch.chmod(0o000)

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """What ``/status/systems`` publishes."""
        return (
            FileSystem(str(self.home), "users"),
            FileSystem(str(self.scratch), "scratch", default_work_dir=True),
        )

    def locate(self, path: str) -> tuple[str, bool]:
        """The normalised ``path``, and whether it lies in a published file system.

        A leading double slash stays, and so does not match: the real server refuses such paths, too.
        """
        normal = os.path.normpath(path)
        inside = any(normal == fs.path or normal.startswith(f"{fs.path}/") for fs in self.file_systems)
        return normal, inside

    def work_dir(self, user: str) -> str:
        """Directory transfer jobs of ``user`` run in: theirs on the default file system."""
        return str(self.scratch / user)

    def owned_by_other(self, path: str) -> bool:
        """Whether ``path`` is, or lies in, a directory of the second user."""
        normal = os.path.normpath(path)
        owned = (str(self.scratch / self.other_user), str(self.home / self.other_user))
        return any(normal == top or normal.startswith(f"{top}/") for top in owned)

    def group_of(self, path: str) -> str | None:
        """Group given to ``path`` by a chown call, or None; this machine has no such groups to give."""
        try:
            info = os.lstat(path)
        except OSError:
            return None
        return self._groups.get((info.st_dev, info.st_ino))

    def set_group(self, path: str, group: str) -> None:
        """Remember the group of an existing file."""
        # As long as it is open, no later file is given its inode, and the group with it.
        held = os.open(path, _NO_ACCESS | os.O_NOFOLLOW)
        info = os.fstat(held)
        if (info.st_dev, info.st_ino) in self._groups:
            os.close(held)
        else:
            self._held.append(held)
        self._groups[(info.st_dev, info.st_ino)] = group

    def close(self) -> None:
        """Remove a temporary root, closed directories included."""
        while self._held:
            os.close(self._held.pop())
        if self._temporary:
            remove_tree(self.root)


def remove_tree(root: Path) -> None:
    """Remove a tree that may hold directories closed to their owner."""
    for directory, names, _files in os.walk(root, topdown=True):
        for name in names:
            child = Path(directory, name)
            if not child.is_symlink() and stat.S_IMODE(child.lstat().st_mode) & 0o700 != 0o700:
                child.chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)


def give_up_root_powers() -> bool:
    """Drop every capability of this process and its future children; True when permission bits now count.

    Must run before the first thread starts: capabilities belong to threads. Ordinary users have none.
    """
    if os.geteuid() != 0:
        return True
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_HIGHEST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    return int(libc.capset(header, nothing)) == 0
