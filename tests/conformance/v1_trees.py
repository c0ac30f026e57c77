"""The files the v1 recordings were made with."""

from __future__ import annotations

import os
from pathlib import Path

# What `names-summary` calls each name.
NAMES = {
    "space": "with space.txt",
    "unicode": "héllo_文.txt",
    "squote": "it's.txt",
    "dquote": 'say"hi".txt',
    "dash": "-leading.txt",
    "semicolon": "a;b.txt",
    "amp": "a&b.txt",
    "paren": "a(b).txt",
    "dollar": "a$HOME.txt",
    "percent": "a%20b.txt",
    "hash": "a#b.txt",
    "plus": "a+b.txt",
    "star": "a*b.txt",
    "backslash": "a\\b.txt",
    "newline": "a\nb.txt",
    "colon": "a:b.txt",
    "brackets": "a[1]{2}.txt",
    "equals": "a=b,c.txt",
    "tilde": "~t.txt",
    "bang": "a!b.txt",
}
# Names the server stores an upload under, when they are others.
RENAMED = {"backslash": "ab.txt", "newline": "a%0Ab.txt"}
_JOB = "#!/bin/bash\n#SBATCH -J rig1-names\nhostname\n"
SCRIPTS = {
    "remote.sh": "#!/bin/bash\n#SBATCH -J rig1-remote\necho $MYVAR\n",
    "my job.sh": _JOB,
    "jöb.sh": _JOB,
    "-job.sh": _JOB,
    "dir with space/job.sh": _JOB,
    "p-badopt.sh": "#!/bin/bash\n#SBATCH --nosuchoption=1\nhostname\n",
    "p-badpart.sh": "#!/bin/bash\n#SBATCH --partition=nope\nhostname\n",
    "p-noshebang.sh": "hostname\n",
    "p-warn.sh": "#!/bin/bash\n#SBATCH --nodes=3\n#SBATCH --ntasks=1\nhostname\n",
}


def sparse(path: Path, size: int) -> None:
    """A file of ``size`` zero bytes that occupies no disk."""
    with path.open("wb") as file:
        file.truncate(size)


def make_home(home: Path) -> Path:
    """The directory ``rig1`` as the first recordings found it; returns it."""
    top = home / "rig1"
    (top / "a" / "b" / "c").mkdir(parents=True)
    (top / "hello.txt").write_text("line1\nline2\nline3\nline4\n")
    (top / "empty.txt").touch()
    sparse(top / "big5.bin", 5_238_784)
    for file in ("hello.txt", "empty.txt", "big5.bin"):
        (top / file).chmod(0o644)
    (home / ".shadow").write_text("secret\n")
    (home / ".shadow").chmod(0)
    return top


def add_large_and_odd(top: Path) -> None:
    """Files of the recordings about limits and kinds."""
    (top / "lines30.txt").write_text("".join(f"l{number}\n" for number in range(30)))
    (top / "rand.bin").write_bytes(b"+\xb4\x08\x00binary" * 100)
    sparse(top / "six.bin", 6_291_456)
    os.mkfifo(top / "fifo")


def add_odd_names(top: Path) -> None:
    """The directory ``odd``."""
    odd = top / "odd"
    odd.mkdir()
    for name in (
        " -> arrow",
        "back\\slash.txt",
        "héllo.txt",
        "it's.txt",
        "nl\nname.txt",
        'say"hi".txt',
        "sp ace",
    ):
        (odd / name).touch(0o644)
    (odd / "li nk").symlink_to("sp ace")


def add_scripts(top: Path) -> None:
    """The scripts of the recordings that submit by path."""
    for name, text in SCRIPTS.items():
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(text)


def add_transfer_files(top: Path) -> None:
    """The directories ``xi``, ``xfer`` and ``xd``."""
    (top / "xi" / "d" / "e").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c.txt"):
        (top / "xi" / name).write_text(f"{name}\n")
    (top / "xfer").mkdir()
    (top / "xfer" / "up1.bin").write_bytes(bytes(range(256)) * 7812)
    (top / "xd").mkdir()
    (top / "xd" / "ab.txt").write_text("data of ab.txt\n")
