"""Moving single files through the object store: the statuses 110 to 118.

Knows: the order of the statuses and the data that goes with each. Must not know: HTTP requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_provider_firecrest.local import disk
from airflow_provider_firecrest.local.object_store import Part, StoredObject, StoreError
from airflow_provider_firecrest.local.v1.context import V1
from airflow_provider_firecrest.local.v1.forms import signed_fields
from airflow_provider_firecrest.local.v1.tasks import (
    AWAITING_FORM,
    COPIED_IN,
    COPIED_OUT,
    COPY_IN_FAILED,
    COPY_OUT_FAILED,
    COPYING_IN,
    COPYING_OUT,
    FAILED,
    FORM_READY,
    STAGED,
    Task,
)

_UPLOADS = "/storage/xfer-external/upload"
_DOWNLOADS = "/storage/xfer-external/download"
_GONE = "File was deleted from staging area. Start a new upload process"
_WAITING = "Waiting for Presigned URL to upload file to staging area (Amazon S3 - Signature v4)"
# The address of the machine's SSH port, which nobody needs.
_SYSTEM_ADDRESS = "127.0.0.1:2223"
# The path stands without quotes in the curl command on the machine.
_BREAKS_CURL = re.compile(r"[\s,$]")
_COPY_SIZE = 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file on its way to the machine.

    Args:
        task: its task.
        source: the path the client named, on the client's side.
        target: absolute path of the file on the machine.
    """

    task: Task
    source: str
    target: str

    @property
    def name(self) -> str:
        """Name of the file in the object store."""
        return Path(self.source).name

    @property
    def key(self) -> str:
        """Key of the object."""
        return f"{self.task.id}/{self.name}"

    def long_data(self, status: str, message: Any) -> dict[str, Any]:
        """Data of the statuses that carry a message."""
        return {
            "hash_id": self.task.id,
            "msg": message,
            "source": self.name,
            "status": status,
            "system_addr": _SYSTEM_ADDRESS,
            "system_name": self.task.system,
            "target": self.target,
            "trace_id": "",
            "user": self.task.user,
        }

    def short_data(self) -> dict[str, Any]:
        """Data of the statuses of the copy."""
        return {
            "source": self.name,
            "system_addr": _SYSTEM_ADDRESS,
            "system_name": self.task.system,
            "target": self.target,
        }


def new_upload(v1: V1, user: str, machine: str, source: str, target: str) -> Upload:
    """An upload at 110."""
    task = v1.tasks.create(user, "storage", machine, status=AWAITING_FORM)
    upload = Upload(task, source, target)
    task.set(AWAITING_FORM, upload.long_data(AWAITING_FORM, _WAITING))
    return upload


async def follow_upload(v1: V1, upload: Upload) -> None:
    """Hand out the form, wait for the object, copy it; again and again while that fails."""
    await asyncio.sleep(v1.settings.task_delay)
    ttl = v1.local.config.url_ttl if v1.settings.url_ttl is None else v1.settings.url_ttl
    expires, message = time.time() + ttl, _form_message(v1, upload, ttl)
    task = upload.task
    task.set(FORM_READY, upload.long_data(FORM_READY, message))
    while task.status != COPIED_IN:
        await asyncio.sleep(v1.settings.polling_interval)
        stored = _find(v1, upload)
        if stored is None and task.status == FORM_READY:
            continue
        if stored is None:
            task.set(FAILED, _GONE)
            return
        if task.status == FORM_READY:
            task.set(STAGED, upload.long_data(STAGED, message))
        task.set(COPYING_IN, upload.short_data())
        copied = time.time() <= expires and await _copy_in(v1, upload, stored)
        if copied:
            task.set(COPIED_IN, upload.short_data())
        else:
            # Says nothing about the reason, and is not the end.
            task.set(COPY_IN_FAILED, upload.long_data(COPY_IN_FAILED, message))


def _find(v1: V1, upload: Upload) -> StoredObject | None:
    try:
        return v1.local.store.get(upload.task.user, upload.key)
    except StoreError:
        return None


def _form_message(v1: V1, upload: Upload, ttl: int) -> dict[str, Any]:
    """How to post the file, as a curl command and as its parts; and what only the list view shows."""
    bucket = upload.task.user
    fields = signed_fields(v1.local.presigner, bucket, upload.key, ttl)
    url = f"{v1.local.s3_url}/{bucket}"
    options = " ".join(f"-F '{name}={value}'" for name, value in fields.items())
    command = f"curl -f --show-error -s -i -X POST             {url} {options} -F file=@{upload.source}"
    download = _object_url(v1, bucket, upload.key, ttl)
    return {
        "action": f"curl -f -s -G -o '{upload.target}' -- '{download}'",
        "cert": ["an encrypted certificate", "/tmp/a-directory"],
        "command": command,
        "download_url": download,
        "parameters": {
            "data": fields,
            "files": upload.source,
            "headers": {},
            "json": {},
            "method": "POST",
            "params": {},
            "url": url,
        },
    }


def _object_url(v1: V1, bucket: str, key: str, ttl: int) -> str:
    return v1.local.presigner.sign("GET", f"{v1.local.s3_url}/{bucket}/{quote(key)}", ttl=ttl)


async def _copy_in(v1: V1, upload: Upload, stored: StoredObject) -> bool:
    faults = v1.local.faults
    if faults.take(("staging_fails",), "POST", f"/v1{_UPLOADS}") is not None:
        return False
    if faults.take(("ingress_says_success_without_file",), "POST", f"/v1{_UPLOADS}") is not None:
        return True
    copied = await asyncio.to_thread(_write, Path(upload.target), stored)
    # The server goes on trying, for as long as the form lives; meanwhile somebody makes room.
    disk.ROOM.set(None)
    return copied


def _write(target: Path, stored: StoredObject) -> bool:
    # Straight to its final name, as curl does it: who looks too early sees a part of the file.
    try:
        with target.open("wb") as file:
            for chunk in stored.read(0, stored.size):
                disk.write(file, chunk)
    except OSError:
        return False
    return True


async def follow_download(v1: V1, task: Task, source: str, path: str) -> None:
    """Copy ``path`` (shown as ``source``) to the object store and hand out its URL."""
    await asyncio.sleep(v1.settings.task_delay)
    shown = {"source": source, "system_name": task.system}
    task.set(COPYING_OUT, shown)
    problem = await asyncio.to_thread(_copy_out, v1, task, source, Path(path))
    name = Path(source).name
    if problem is not None:
        text = f"Upload to Staging area has failed. Object: {name}. {problem}"
        task.set(COPY_OUT_FAILED, {"error": text, **shown})
        return
    ttl = v1.local.config.url_ttl if v1.settings.url_ttl is None else v1.settings.url_ttl
    task.set(COPIED_OUT, {"url": _object_url(v1, task.user, f"{task.id}/{name}", ttl), **shown})


def _copy_out(v1: V1, task: Task, source: str, path: Path) -> str | None:
    """Stage a file; returns what curl complains about."""
    fault = v1.local.faults.take(("staging_fails",), "POST", f"/v1{_DOWNLOADS}")
    if fault is not None:
        return f"curl: (22) The requested URL returned error: {fault.status}"
    staged = v1.local.store.new_file()
    try:
        if _BREAKS_CURL.search(source):
            raise OSError
        size, md5 = _copy_file(path, staged)
    except OSError:
        staged.unlink(missing_ok=True)
        return "curl: (26) Failed to open/read local data from file/application"
    v1.local.store.put(task.user, f"{task.id}/{path.name}", Part(1, staged, size, md5))
    return None


def _copy_file(source: Path, target: Path) -> tuple[int, str]:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_COPY_SIZE):
            digest.update(chunk)
            size += writing.write(chunk)
    return size, digest.hexdigest()
