"""The look beside the target of a staged upload, before a byte of it moves.

FirecREST v2's job overwrites and removes what is called ``<target>.1``, ``<target>.2``, ... (``pieces``); an
upload that would cost somebody a file is refused here.
"""

from __future__ import annotations

import logging

from .. import paths
from ..errors import ConflictError, FirecrestError
from ..leftovers.pieces import cannot_be_seen, piece_of, pieces_in, pieces_taken
from ..sync_client import FirecrestClient
from .plan import UploadPlan

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_MOST_NAMED = 5


def check_beside(client: FirecrestClient, plan: UploadPlan, part_size: int) -> int:
    """Refuse an upload whose job would overwrite what is beside its target.

    :param client: a client of FirecREST v2.
    :param plan: the upload.
    :param part_size: of its ticket.
    :returns: up to which number the names are free; 0 when that cannot be seen, which the log says.
    :raises ConflictError: a name is taken.
    :raises UnavailableError: nobody can look now.
    :endpoint: GET .../ops/ls, or GET .../ops/stat
    """
    count = pieces_in(plan.size, part_size)
    last = piece_of(plan.target, count)
    try:
        taken, looked = client.run(pieces_taken(client.api, plan.target, count, system=plan.system))
    except FirecrestError as error:
        if not cannot_be_seen(error):
            raise
        logger.warning(
            "Whether a file on %s has one of the names %s to %s, which the server's job overwrites, cannot be"
            " seen: %s",
            plan.system,
            piece_of(plan.target, 1),
            last,
            error.message,
        )
        return 0
    if taken:
        raise _conflict(plan, taken)
    if looked < count:
        logger.warning(
            "The names %s to %s on %s, which the server's job overwrites, were not looked for: there are too"
            " many to look at each, and their directory cannot be listed.",
            piece_of(plan.target, looked + 1),
            last,
            plan.system,
        )
    return looked


def _conflict(plan: UploadPlan, taken: list[int]) -> ConflictError:
    named = ", ".join(piece_of(paths.basename(plan.target), number) for number in taken[:_MOST_NAMED])
    more = f" and {len(taken) - _MOST_NAMED} more" if len(taken) > _MOST_NAMED else ""
    return ConflictError(
        f"target_path: {named}{more} in {paths.parent(plan.target)} on {plan.system} would be lost:"
        f" FirecREST's job puts the pieces of {paths.basename(plan.target)} under these names while it writes"
        " it. Nothing was sent. Upload under another name or to another directory, or with atomic=True, which"
        " writes in a directory of its own; if they are the remains of an earlier upload, remove them."
    )
