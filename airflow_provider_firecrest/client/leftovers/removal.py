"""Removing what an interrupted transfer left on the system: the one rule, for workers and triggerer alike.

A flow, so it serves both drivers. Must not decide whether a transfer is over.
"""

from __future__ import annotations

import logging
from typing import Any

from .. import paths, states
from ..errors import FirecrestError, NotFoundError
from ..flow import Flow, Sleep
from .halves import remove_half
from .leftover import OLD, Leftover

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_JOB_WITHIN = 600.0
_LOOK_EVERY = 3.0


def remove_leftover(api: Any, left: Leftover) -> Flow[bool]:
    """Remove it, whatever is in it, unless it holds the only copy of something, or its job has not left it in
    the middle; never raises.

    :param api: the client's ``api``.
    :param left: what to remove; the job that worked there must be over.
    :returns: whether it is gone; if not, the log says where it is and why.
    :endpoint: DELETE .../ops/rm; where that takes too long, POST .../transfer/rm
    """
    try:
        if left.job_id is not None:
            return (yield from remove_half(api, left))
        if left.replaced is not None and (yield from _holds_the_only_copy(api, left)):
            logger.error(
                "The job was stopped while it replaced %s on %s. What was there is kept in %s; move it"
                " back, or"
                " remove it.",
                left.replaced,
                left.system,
                paths.join(left.path, OLD),
            )
            return False
        return (yield from _remove(api, left))
    except NotFoundError:
        return True
    except FirecrestError as error:
        logger.warning("%s on %s could not be removed: %s", left.path, left.system, error.message)
        return False


def _holds_the_only_copy(api: Any, left: Leftover) -> Flow[bool]:
    try:
        yield from api.stat(paths.join(left.path, OLD), dereference=False, system=left.system)
    except NotFoundError:
        return False
    try:
        yield from api.stat(left.replaced, dereference=False, system=left.system)
    except NotFoundError:
        return True
    return False


def _remove(api: Any, left: Leftover) -> Flow[bool]:
    try:
        yield from api.rm(left.path, system=left.system)
        return True
    except NotFoundError:
        return True
    except FirecrestError as error:
        # Large trees take longer than a direct call may.
        logger.info("Removing %s by a job: %s", left.path, error.message)
    job = yield from api.transfer_rm(left.path, account=left.account, system=left.system)
    waited = 0.0
    while waited < _JOB_WITHIN:
        yield Sleep(_LOOK_EVERY)
        waited += _LOOK_EVERY
        try:
            found = yield from api.get_job(job.job_id, system=left.system)
        except NotFoundError:
            continue
        if states.is_final(found.state):
            break
    yield from api.stat(left.path, dereference=False, system=left.system)
    logger.warning("%s on %s is still there: job %s did not remove it.", left.path, left.system, job.job_id)
    return False
