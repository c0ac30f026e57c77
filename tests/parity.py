"""Writes `docs/parity.md`: every public method of pyfirecrest's clients, its name here, the endpoint.

    python -m tests.parity > docs/parity.md

The table below is written by hand; endpoints come from the documentation of our own calls, the list of
methods from pyfirecrest. `tests/unit/test_parity.py` fails when a method has no line or a line is not true.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import firecrest.v1
import firecrest.v2

from airflow_provider_firecrest.client.v1 import V1
from airflow_provider_firecrest.client.v2 import V2


@dataclass(frozen=True)
class Here:
    """What stands for one of pyfirecrest's methods: calls of the client, and operators or sensors over them.

    ``why`` is for a method without a call: the reason, and what to use instead.
    """

    calls: str = ""
    airflow: str = ""
    why: str = ""


UPLOAD, DOWNLOAD = "FirecrestUploadOperator", "FirecrestDownloadOperator"
COPY, MOVE, DELETE = (f"FirecrestInternal{each}Operator" for each in ("Copy", "Move", "Delete"))
COMPRESS, EXTRACT = "FirecrestCompressOperator", "FirecrestExtractOperator"
SUBMIT, CANCEL, JOBS = "FirecrestSubmitJobOperator", "FirecrestCancelJobOperator", "FirecrestJobSensor"
SMALL = "FirecrestFilesystemOperator"

LOGGING = Here(why="the log is Python's: `logging.getLogger('airflow_provider_firecrest')`")
VERSION = Here(why="a setting of the connection: `api_version`")
SESSION = Here(why="sessions are the client's own: `with FirecrestClient(...)`, `close()`, `aclose()`")
STREAMER = Here(
    why="large files go through the object store, whose parts have digests; the streamer has none"
)
WORMHOLE = Here(why="large files go through the object store; a wormhole needs a relay that both sides reach")
OWN_WAY = Here(
    why="data of the staged transfer; `transfer_upload` and `transfer_download` return all of them"
)
PACE = Here(why="a setting of the connection: `max_concurrent_requests`")

SHARED = {
    "checksum": Here("checksum", SMALL),
    "chmod": Here("chmod", SMALL),
    "chown": Here("chown", SMALL),
    "file_type": Here("file_type"),
    "head": Here("head", SMALL),
    "list_files": Here("ls", SMALL),
    "mkdir": Here("mkdir", SMALL),
    "stat": Here("stat, exists", f"{SMALL}, FirecrestFileSensor"),
    "symlink": Here("symlink", SMALL),
    "tail": Here("tail", SMALL),
    "view": Here("view", SMALL),
    "nodes": Here("nodes"),
    "partitions": Here("partitions"),
    "reservations": Here("reservations"),
    "submit": Here("submit_job", SUBMIT),
    "log": LOGGING,
    "set_api_version": VERSION,
    "close_session": SESSION,
    "create_new_session": SESSION,
    "is_session_closed": SESSION,
}

METHODS: dict[str, dict[str, Here]] = {
    "v1.Firecrest": {
        **SHARED,
        "all_reservations": Here("managed_reservations"),
        "all_services": Here("services, liveness"),
        "all_systems": Here("systems", "FirecrestSystemSensor"),
        "cancel": Here("cancel_job", CANCEL),
        "compress": Here("compress", COMPRESS),
        "copy": Here("copy", COPY),
        "create_reservation": Here("create_reservation"),
        "delete_reservation": Here("delete_reservation"),
        "external_download": Here("transfer_download, download_url", DOWNLOAD),
        "external_upload": Here("transfer_upload", UPLOAD),
        "extract": Here("extract", EXTRACT),
        "filesystems": Here("service_file_systems"),
        "groups": Here("userinfo"),
        "mv": Here("rename", f"{SMALL}, {MOVE}"),
        "parameters": Here("parameters"),
        "poll": Here("get_job, find_jobs, jobs", JOBS),
        "poll_active": Here("jobs, job_metadata", JOBS),
        "service": Here("services"),
        "simple_delete": Here("rm", f"{SMALL}, {DELETE}"),
        "simple_download": Here("download", DOWNLOAD),
        "simple_upload": Here("upload", UPLOAD),
        "submit_compress_job": Here("transfer_compress", COMPRESS),
        "submit_copy_job": Here("transfer_cp", COPY),
        "submit_delete_job": Here("transfer_rm", DELETE),
        "submit_extract_job": Here("transfer_extract", EXTRACT),
        "submit_move_job": Here("transfer_mv", MOVE),
        "submit_rsync_job": Here("transfer_rsync", "FirecrestInternalRsyncOperator"),
        "system": Here("system_info", "FirecrestSystemSensor"),
        "update_reservation": Here("update_reservation"),
        "whoami": Here("userinfo"),
    },
    "v1.ExternalUpload": {
        "finish_upload": Here("transfer_upload", UPLOAD),
        "object_storage_data": Here("transfer_upload", UPLOAD),
        "status": Here("task", "FirecrestTaskSensor"),
        "in_progress": Here("task, tasks", "FirecrestTaskSensor"),
        "data": Here("task"),
        "client": OWN_WAY,
        "task_id": OWN_WAY,
    },
    "v1.ExternalDownload": {
        "finish_download": Here("download_url", DOWNLOAD),
        "invalidate_object_storage_link": Here("invalidate"),
        "object_storage_data": Here("download_url", DOWNLOAD),
        "object_storage_link": Here("download_url", DOWNLOAD),
        "status": Here("task", "FirecrestTaskSensor"),
        "in_progress": Here("task, tasks", "FirecrestTaskSensor"),
        "data": Here("task"),
        "client": OWN_WAY,
        "task_id": OWN_WAY,
    },
    "v2.Firecrest": {
        **SHARED,
        "attach_to_job": Here("attach"),
        "cancel_job": Here("cancel_job", CANCEL),
        "compress": Here("compress, transfer_compress", COMPRESS),
        "cp": Here("transfer_cp", COPY),
        "download": Here("download, transfer_download", DOWNLOAD),
        "extract": Here("extract, transfer_extract", EXTRACT),
        "job_info": Here("get_job, find_jobs, jobs", JOBS),
        "job_metadata": Here("job_metadata"),
        "mv": Here("transfer_mv", MOVE),
        "rm": Here("rm, transfer_rm", f"{SMALL}, {DELETE}"),
        "server_version": Here(why="servers say `2.x.x`, which nothing can be decided by"),
        "systems": Here("systems, system_info, liveness", "FirecrestSystemSensor"),
        "upload": Here("upload, transfer_upload", UPLOAD),
        "userinfo": Here("userinfo"),
        "wait_for_job": Here("wait_for_job, get_job", JOBS),
        "set_maximum_s3_connections": PACE,
    },
    "v2.ExternalUpload": {
        "upload_file_to_stage": Here("transfer_upload", UPLOAD),
        "wait_for_transfer_job": Here("wait_for_job, get_job", JOBS),
        "transfer_data": OWN_WAY,
        "upload_file_streamer": STREAMER,
        "wait_for_streamer_job_to_listen": STREAMER,
        "send_file_wormhole": WORMHOLE,
        "wormhole_code": WORMHOLE,
    },
    "v2.ExternalDownload": {
        "download_file_from_stage": Here("transfer_download", DOWNLOAD),
        "wait_for_transfer_job": Here("wait_for_job, get_job", JOBS),
        "transfer_data": OWN_WAY,
        "download_file_streamer": STREAMER,
        "wait_for_streamer_job_to_listen": STREAMER,
        "receive_file_wormhole": WORMHOLE,
        "wormhole_code": WORMHOLE,
    },
}

_APIS: dict[str, Any] = {"v1": V1, "v2": V2}
_ENDPOINT = re.compile(r"\b(GET|POST|PUT|DELETE) (/[^\s,;()?]+[^\s,;().?])")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")

HEAD = """# Every call, beside pyfirecrest's

[pyfirecrest](https://pyfirecrest.readthedocs.io) is the official Python client. This page names, for every
public method of its clients, blocking and asynchronous, what stands for it here. A *call* is a method of
[`FirecrestClient` and `AsyncFirecrestClient`](client.md), which a task gets by `FirecrestHook().get_conn()`.
It has one name for both generations of FirecREST, where both have it.

The page is generated, and a test fails when a method is missing from it.
"""

TITLES = {
    "v1.Firecrest": "FirecREST v1: `firecrest.v1.Firecrest`, `AsyncFirecrest`",
    "v1.ExternalUpload": "FirecREST v1: `ExternalUpload`",
    "v1.ExternalDownload": "FirecREST v1: `ExternalDownload`",
    "v2.Firecrest": "FirecREST v2: `firecrest.v2.Firecrest`, `AsyncFirecrest`",
    "v2.ExternalUpload": "FirecREST v2: `ExternalUpload`",
    "v2.ExternalDownload": "FirecREST v2: `ExternalDownload`",
}


def methods(name: str) -> set[str]:
    """Public methods and properties of one of pyfirecrest's classes and of its asynchronous twin."""
    module = getattr(firecrest, name.split(".")[0])
    classes = [getattr(module, name.split(".")[1]), getattr(module, f"Async{name.split('.')[1]}")]
    found = {each for cls in classes for each in dir(cls)}
    return {each for each in found if not each.startswith("_") and not _CONSTANT.fullmatch(each)}


def endpoints(generation: str, call: str) -> list[str]:
    """The endpoints behind one of our calls, out of its documentation."""
    text = inspect.getdoc(getattr(_APIS[generation], call)) or ""
    said = text.partition(":endpoint:")[2].partition("\n:")[0]
    return [" ".join(each) for each in _ENDPOINT.findall(" ".join(said.split()))]


def here(name: str) -> dict[str, Here]:
    """The lines of one class: those of them that it has."""
    return {method: METHODS[name][method] for method in sorted(methods(name)) if method in METHODS[name]}


def _row(generation: str, method: str, line: Here) -> str:
    if line.why:
        return f"| `{method}` | none: {line.why} | | |"
    calls = line.calls.split(", ")
    paths = dict.fromkeys(each for call in calls for each in endpoints(generation, call))
    return (
        f"| `{method}` | {', '.join(f'`{each}`' for each in calls)} | {line.airflow.replace(', ', '<br>')} |"
        f" {'<br>'.join(f'`{each}`' for each in paths)} |"
    )


def lines() -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    for name, title in TITLES.items():
        yield f"## {title}\n"
        yield "| pyfirecrest | call here | in a DAG | endpoint |"
        yield "|---|---|---|---|"
        for method, line in here(name).items():
            yield _row(name.split(".")[0], method, line)
        yield ""


def page() -> str:
    """The page."""
    return "\n".join(lines()).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
