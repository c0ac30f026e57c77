"""sbatch's options: which there are, and how they stand in ``#SBATCH`` lines.

Knows: option names, abbreviations, arity, and where the directives of a script end. Must not know: what the
values mean.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from airflow_provider_firecrest.local.slurm.errors import SbatchError

_SHORT_TEXT = """
    A=account a=array b=begin C=constraint c=cpus-per-task d=dependency D=chdir e=error H=hold
    i=input J=job-name k=no-kill M=clusters m=distribution N=nodes n=ntasks o=output O=overcommit
    p=partition q=qos Q=quiet F=nodefile G=gpus L=licenses S=core-spec B=extra-node-info
    s=oversubscribe t=time v=verbose w=nodelist W=wait x=exclude
"""
_SHORT = dict(pair.split("=") for pair in _SHORT_TEXT.split())

_FLAGS_TEXT = """
    contiguous hold ignore-pbs no-requeue overcommit parsable quiet reboot requeue spread-job
    test-only use-min-nodes verbose wait
"""
_FLAGS = frozenset(_FLAGS_TEXT.split())

_OPTIONAL_VALUE = {"exclusive", "get-user-env", "nice", "no-kill", "oversubscribe", "propagate"}

# Taken, so that scripts written for a real cluster run here; those not named in submission.py have no effect.
_VALUED_TEXT = """
    account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint
    container core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
    dependency distribution error exclude export export-file extra-node-info gid gpu-bind gpu-freq
    gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input job-name
    kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu
    mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node
    ntasks-per-socket open-mode output partition power priority profile qos reservation signal
    sockets-per-node switches thread-spec threads-per-core time time-min tmp uid wait-all-nodes
    wckey wrap
"""
_VALUED = frozenset(_VALUED_TEXT.split())

_ALL = _FLAGS | _OPTIONAL_VALUE | _VALUED
_ALIASES = {"tasks-per-node": "ntasks-per-node"}
_USAGE = 'Try "sbatch --help" for more information\n'


def read_directives(script: str) -> dict[str, str]:
    """All options in the ``#SBATCH`` lines before the first command; of two with the same name the later one.

    Raises:
        SbatchError: an option sbatch does not know, or one without its value (exit status 255).
    """
    options: dict[str, str] = {}
    for line in _directive_lines(script):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise SbatchError(f"sbatch: error: {error} in #SBATCH line: {line.strip()}\n") from error
        options.update(parse_options(words))
    return options


def _directive_lines(script: str) -> Iterator[str]:
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            yield line.removeprefix("#SBATCH")
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def parse_options(words: list[str]) -> dict[str, str]:
    """Options of one command line: ``--x=y``, ``--x y``, ``-xy``, ``-x y``; flags get the value "" ."""
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, value = _long(word, rest)
        elif word.startswith("-") and len(word) > 1:
            name, value = _short(word, rest)
        else:
            break  # sbatch takes the first free word for the script's name: nothing after it is an option
        options[name] = value
    return options


def _long(word: str, rest: list[str]) -> tuple[str, str]:
    given, equals, value = word[2:].partition("=")
    name = _complete(given, word)
    if name in _FLAGS:
        if equals:
            raise SbatchError(f"sbatch: option '--{name}' doesn't allow an argument\n{_USAGE}", 255)
        return name, ""
    if equals or name in _OPTIONAL_VALUE:
        return name, value
    if not rest:
        raise SbatchError(f"sbatch: option '--{given}' requires an argument\n{_USAGE}", 255)
    return name, rest.pop(0)


def _complete(given: str, word: str) -> str:
    given = _ALIASES.get(given, given)
    if given in _ALL:
        return given
    candidates = [name for name in _ALL if name.startswith(given)] if given else []
    if len(candidates) == 1:
        return candidates[0]
    problem = "is ambiguous" if candidates else None
    text = f"option '{word}' {problem}" if problem else f"unrecognized option '{word}'"
    raise SbatchError(f"sbatch: {text}\n{_USAGE}", 255)


def _short(word: str, rest: list[str]) -> tuple[str, str]:
    letter, value = word[1], word[2:]
    name = _SHORT.get(letter)
    if name is None:
        raise SbatchError(f"sbatch: invalid option -- '{letter}'\n{_USAGE}", 255)
    if name in _FLAGS:
        if value:
            rest.insert(0, f"-{value}")
        return name, ""
    if value or name in _OPTIONAL_VALUE:
        return name, value
    if not rest:
        raise SbatchError(f"sbatch: option requires an argument -- '{letter}'\n{_USAGE}", 255)
    return name, rest.pop(0)
