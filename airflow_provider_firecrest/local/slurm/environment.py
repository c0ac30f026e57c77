"""The environment a batch script starts from: a clean login environment and ``--export``.

Knows: how sbatch cuts an export list into variables, lies included. Must not know: the server's own
environment (its secrets must not reach a job), beyond PATH.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

# A job sees the PATH of the one who started the server: that is where python3 and the user's programs are.
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def login_environment(user: str, home: str) -> dict[str, str]:
    """What a login shell on the pretended cluster would have. No locale: the recorded servers had none."""
    return {
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "PATH": os.environ.get("PATH") or _DEFAULT_PATH,
    }


def apply_export(text: str | None, login: dict[str, str]) -> dict[str, str]:
    """The environment that ``--export=text`` makes of a login environment.

    Measured on Slurm 22.05: a value ends at its first comma outside quotes; the rest is taken for names of
    variables to inherit, and lost. A quote that is never closed swallows everything after it, later variables
    included.
    """
    if text is None:
        return dict(login)
    tokens = list(_tokens(text))
    keywords = {token.upper() for token in tokens}
    result = dict(login) if not tokens or "ALL" in keywords else {}
    for token in tokens:
        name, equals, value = token.partition("=")
        if equals and name:
            result[name] = _without_quotes(value)
        elif name in login:
            result[name] = login[name]
    for name in ("HOME", "USER", "PATH", "SHELL", "LOGNAME"):
        # Even with --export=NONE Slurm loads the user's login environment on the node.
        result.setdefault(name, login[name])
    return result


def _tokens(text: str) -> Iterator[str]:
    quotes = {"'": False, '"': False}
    start = 0
    for position, character in enumerate(text):
        if character in quotes:
            quotes[character] = not quotes[character]
        elif character == "," and not any(quotes.values()):
            yield from filter(None, [text[start:position]])
            start = position + 1
    if not any(quotes.values()):
        yield from filter(None, [text[start:]])


def _without_quotes(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
