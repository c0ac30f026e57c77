"""The list of calls, once, for both clients.

`Call` turns a flow into a method: blocking on :class:`~.sync_client.FirecrestClient`, awaitable on
:class:`~.async_client.AsyncFirecrestClient`. Types survive: an editor completes ``client.get_job(`` and knows
    it returns a
``Job``, or a coroutine of one. At run time the flow of the connection's API generation is looked up by name.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from .flow import Flow
from .v1 import V1
from .v2 import V2

if TYPE_CHECKING:
    from .async_client import AsyncFirecrestClient
    from .sync_client import FirecrestClient

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")


class Call(Generic[P, T]):
    """A flow as a method of a client.

    :param flow: the flow's function in its API class; it lends name, signature and documentation.
    """

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self._name = flow.__name__
        self.__doc__ = flow.__doc__
        self.__wrapped__ = flow

    @overload
    def __get__(self, client: None, owner: type) -> Call[P, T]: ...
    @overload
    def __get__(self, client: FirecrestClient, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncFirecrestClient, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return client._call(self._name, self.__doc__)


def _either(
    flow: Callable[Concatenate[Any, P], Flow[T]],
    in_v1: Callable[Concatenate[Any, P], Flow[U]],
) -> Call[P, T | U]:
    """Return the call of a flow that brings something else on FirecREST v1; both take the same arguments."""
    return cast("Call[P, T | U]", Call(flow))


class Calls:
    """Every call of FirecREST under one name. A call's documentation is its flow's."""

    systems = Call(V2.systems)
    system_info = Call(V2.system_info)
    nodes = Call(V2.nodes)
    partitions = Call(V2.partitions)
    reservations = Call(V2.reservations)
    userinfo = Call(V2.userinfo)
    liveness = Call(V2.liveness)

    submit_job = Call(V2.submit_job)
    jobs = Call(V2.jobs)
    get_job = Call(V2.get_job)
    find_jobs = Call(V2.find_jobs)
    job_metadata = Call(V2.job_metadata)
    cancel_job = Call(V2.cancel_job)
    attach = Call(V2.attach)
    wait_for_job = Call(V2.wait_for_job)

    ls = Call(V2.ls)
    stat = Call(V2.stat)
    exists = Call(V2.exists)
    default_working_dir = Call(V2.default_working_dir)
    checksum = Call(V2.checksum)
    file_type = Call(V2.file_type)
    head = Call(V2.head)
    tail = Call(V2.tail)
    view = Call(V2.view)
    download = Call(V2.download)
    upload = Call(V2.upload)
    mkdir = Call(V2.mkdir)
    rm = Call(V2.rm)
    chmod = Call(V2.chmod)
    chown = Call(V2.chown)
    symlink = Call(V2.symlink)
    compress = Call(V2.compress)
    extract = Call(V2.extract)

    transfer_upload = _either(V2.transfer_upload, V1.transfer_upload)
    transfer_download = _either(V2.transfer_download, V1.transfer_download)
    transfer_mv = Call(V2.transfer_mv)
    transfer_cp = Call(V2.transfer_cp)
    transfer_rm = Call(V2.transfer_rm)
    transfer_compress = Call(V2.transfer_compress)
    transfer_extract = Call(V2.transfer_extract)

    # Only FirecREST v1 has these.
    services = Call(V1.services)
    parameters = Call(V1.parameters)
    service_file_systems = Call(V1.service_file_systems)
    managed_reservations = Call(V1.managed_reservations)
    create_reservation = Call(V1.create_reservation)
    update_reservation = Call(V1.update_reservation)
    delete_reservation = Call(V1.delete_reservation)
    task = Call(V1.task)
    tasks = Call(V1.tasks)
    rename = Call(V1.rename)
    copy = Call(V1.copy)
    transfer_rsync = Call(V1.transfer_rsync)
    download_url = Call(V1.download_url)
    invalidate = Call(V1.invalidate)
