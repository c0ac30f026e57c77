"""From a caller's arguments to a request that can be sent.

Checks and repairs before anything is sent, and sends nothing itself (``submission`` does).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import script
from ..errors import ConfigurationError, InvalidRequestError
from .marker import LONGEST_NAME

if TYPE_CHECKING:
    from ..sync_client import FirecrestClient

_ARRAY = re.compile(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%\d+)?")
_NAME_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class JobRequest:
    """One job as it is sent.

    :ivar options: the keyword arguments of ``submit_job`` besides script and name; those not given are left
        out.
    :ivar stdout: pattern of the path of its standard output, or None when that cannot be known (a script on
        the system).
    :ivar stderr: the same of its standard error.
    :ivar repairs: what was changed to make it fit to be sent.
    """

    name: str
    working_dir: str
    script: str | None = None
    remote_script: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    stdout: str | None = None
    stderr: str | None = None
    repairs: tuple[str, ...] = ()


def build_request(
    client: FirecrestClient,
    *,
    script_text: str | None = None,
    remote_script: str | None = None,
    job_name: str | None = None,
    default_name: str = "job",
    working_dir: str | None = None,
    array: str | None = None,
    env: Mapping[str, Any] | None = None,
    system: str | None = None,
    **options: Any,
) -> JobRequest:
    """Check what a caller gave, and repair what can be repaired.

    :param client: lends the connection's defaults; asked only where nobody names a directory.
    :param script_text: the batch script; or
    :param remote_script: absolute path of one on the system.
    :param job_name: name of the job; default: the script's own, else
    :param default_name: what it is called then; default: ``job``.
    :param working_dir: where the job starts; default: the script's own, the connection's, or the system's
        for this user.
    :param array: the array's elements, such as ``0-9`` or ``0-99%10``.
    :param env: environment variables of the job.
    :param system: system name; default: the connection's.
    :param options: further keyword arguments of ``submit_job``.
    :returns: the request, to be given to ``Submission``.
    :raises InvalidRequestError: something is missing or cannot be sent; the message names the parameter.
    :raises ConfigurationError: there is no working directory.
    """
    text, repairs = _checked_script(script_text, remote_script)
    named = script.directives(text).get("chdir") if text is not None else None
    directory = (
        working_dir or named or client.settings.working_dir or client.default_working_dir(system=system)
    )
    if not directory:
        raise ConfigurationError(
            "working_dir is missing, and the system names no default; give it to the task or put it into the"
            " connection."
        )
    if not directory.startswith("/"):
        # The server accepts it, and the job then fails without having run.
        raise InvalidRequestError(f"working_dir: {directory!r} is not an absolute path.")
    if text is not None:
        text = _with_directives(text, client, directory if named else None, options)
    text = _with_array(text, None if array is None else str(array))
    env = {key: _number_as_text(value) for key, value in (env or {}).items()}
    found = script.directives(text) if text is not None else {}
    name = script.check_job_name(str(job_name or "") or found.get("job-name") or safe_name(default_name))
    whole, sendable = script.fold_env(text, env)
    if len(sendable) < len(env):
        moved = ", ".join(each for each in env if each not in sendable)
        repairs = (*repairs, f"moved {moved} from env into the script (FirecREST would cut the value)")
    out, err = _streams(text, directory, found, options)
    given = {key: value for key, value in options.items() if value is not None and value != ""}
    return JobRequest(
        name=name,
        working_dir=directory,
        script=whole,
        remote_script=remote_script or None,
        options={**given, "env": sendable} if sendable else given,
        stdout=out,
        stderr=err,
        repairs=repairs,
    )


def _number_as_text(value: Any) -> Any:
    """Templates rendered as native objects make numbers of texts such as "4"."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def safe_name(name: str) -> str:
    """Return a job name made of dag and task id that every part of the way can carry."""
    # The end tells most: the task, and which of the mapped ones it is.
    return _NAME_UNSAFE.sub("_", name)[-LONGEST_NAME:]


def _checked_script(text: str | None, remote_script: str | None) -> tuple[str | None, tuple[str, ...]]:
    if text is not None and remote_script:
        raise InvalidRequestError("script, remote_script: both are given; give one.")
    if text is None and not remote_script:
        raise InvalidRequestError("script, remote_script: neither is given; give one.")
    if text is None:
        if not str(remote_script).startswith("/"):
            raise InvalidRequestError(f"remote_script: {remote_script!r} is not an absolute path.")
        return None, ()
    prepared = script.prepare(text)
    return prepared.text, prepared.repairs


def _with_directives(
    text: str, client: FirecrestClient, directory: str | None, options: Mapping[str, Any]
) -> str:
    """Say in the script, too, what servers before 2.5.4 silently leave out of a request.

    :param directory: where the job starts, when the script names another place: the request's counts.
    """
    wanted = {
        "account": options.get("account") or client.account,
        "partition": options.get("partition"),
        "reservation": options.get("reservation"),
        "constraint": options.get("constraints"),
        "chdir": directory,
    }
    for name, value in wanted.items():
        if value:
            text = script.set_directive(text, name, str(value))
    return text


def _with_array(text: str | None, array: str | None) -> str | None:
    if not array:
        return text
    if text is None:
        raise InvalidRequestError(
            "array: works with script only; put '#SBATCH --array' into the remote script."
        )
    if not _ARRAY.fullmatch(array):
        raise InvalidRequestError(f"array: {array!r} is not an array such as '0-9', '1,3,7' or '0-99%10'.")
    return script.set_directive(text, "array", array)


def _streams(
    text: str | None, directory: str, found: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    if text is None and not options.get("stdout"):
        # The directives of a script on the system are not known here; the scheduler is asked for the paths
        # after the submit.
        return None, None
    return script.stream_patterns(
        working_dir=directory,
        stdout=options.get("stdout"),
        stderr=options.get("stderr"),
        script_options=found,
        array="array" in found,
    )
