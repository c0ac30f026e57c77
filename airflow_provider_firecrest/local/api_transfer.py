"""FirecREST v2 ``/filesystem/{system}/transfer``: calls that answer with a job.

Knows: what each call checks and answers. Must not know: the scripts' contents, the object store's inside.
"""

from __future__ import annotations

import math
import uuid
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request

from airflow_provider_firecrest.local.access import (
    PublishedPath,
    System,
    User,
    authenticate,
    known_system,
    published_path,
)
from airflow_provider_firecrest.local.api_ops import stat_fields
from airflow_provider_firecrest.local.bodies import (
    CompressRequest,
    CopyRequest,
    DataTransferType,
    ExtractRequest,
    MoveRequest,
    PostFileDownloadRequest,
    PostFileUploadRequest,
    S3TransferRequest,
)
from airflow_provider_firecrest.local.config import SystemConfig
from airflow_provider_firecrest.local.errors import ApiError, slurm_failure
from airflow_provider_firecrest.local.faults import HOLD_ACTIONS, JOB_ACTIONS
from airflow_provider_firecrest.local.slurm import SbatchError
from airflow_provider_firecrest.local.state import LocalState, state_of
from airflow_provider_firecrest.local.transfer_jobs import (
    FileJob,
    Hold,
    compress_job,
    copy_job,
    delete_job,
    egress_job,
    extract_job,
    idle_job,
    ingress_job,
    move_job,
)

_PATH_CHECKED = [Depends(published_path)]


def transfer_router() -> APIRouter:
    """Routes under ``/filesystem/{system_name}/transfer``; needs ``app.state.firecrest``."""
    router = APIRouter(
        prefix="/filesystem/{system_name}/transfer",
        dependencies=[Depends(authenticate), Depends(known_system)],
    )
    # The real server does not check these two paths against its file systems.
    router.post("/upload", status_code=201)(post_upload)
    router.post("/download", status_code=201)(post_download)
    router.post("/mv", status_code=201, dependencies=_PATH_CHECKED)(post_mv)
    router.post("/cp", status_code=201, dependencies=_PATH_CHECKED)(post_cp)
    router.delete("/rm")(delete_rm)
    router.post("/compress", status_code=201, dependencies=_PATH_CHECKED)(post_compress)
    router.post("/extract", status_code=201, dependencies=_PATH_CHECKED)(post_extract)
    return router


def post_cp(request: Request, system: System, user: User, body: CopyRequest) -> dict[str, Any]:
    """Copy on the cluster."""
    job = copy_job(body.path, body.target_path, dereference=body.dereference)
    return _submit_file_job(request, system, user, job, body.account)


def post_mv(request: Request, system: System, user: User, body: MoveRequest) -> dict[str, Any]:
    """Move on the cluster."""
    return _submit_file_job(request, system, user, move_job(body.path, body.target_path), body.account)


def delete_rm(
    request: Request, system: System, user: User, path: PublishedPath, account: str | None = None
) -> dict[str, Any]:
    """Remove on the cluster."""
    return _submit_file_job(request, system, user, delete_job(path), account)


def post_compress(request: Request, system: System, user: User, body: CompressRequest) -> dict[str, Any]:
    """Pack on the cluster."""
    return _submit_file_job(request, system, user, compress_job(body), body.account)


def post_extract(request: Request, system: System, user: User, body: ExtractRequest) -> dict[str, Any]:
    """Unpack on the cluster."""
    return _submit_file_job(request, system, user, extract_job(body), body.account)


def post_upload(request: Request, system: System, user: User, body: PostFileUploadRequest) -> dict[str, Any]:
    """Presigned URLs to put a file's parts to, and the job that will fetch the file."""
    state = state_of(request)
    directives = _s3_directives(body)
    size, part_size = directives.file_size, state.config.max_part_size
    if size is None:
        raise ApiError(500, "(\"unsupported operand type(s) for /: 'NoneType' and 'int'\",)", anonymous=True)
    bucket, key, upload_id = _start_upload(state, user, body.path)
    url = f"{state.s3_url}/{bucket}/{quote(key, safe='/-_.~')}"
    signer = state.presigner
    fault = state.faults.take(JOB_ACTIONS, "POST", request.url.path)
    pretend = fault is not None and fault.action == "ingress_says_success_without_file"
    job_urls = [signer.sign("HEAD", url), signer.sign("GET", url)]
    job = ingress_job(
        body.path,
        job_urls,
        part_size,
        state.config.ingress_interval,
        pretend=pretend,
        hold=_hold(state, request.url.path),
    )
    if fault is not None and not pretend:
        job = idle_job(job)
    answer = _submit(state, system, user, job, body.account)
    part_urls = [
        signer.sign("PUT", f"{url}?uploadId={upload_id}&partNumber={number}")
        for number in range(1, math.ceil(size / part_size) + 1)
    ]
    answer["transferDirectives"] = {
        "transferMethod": "s3",
        "partsUploadUrls": part_urls,
        "completeUploadUrl": signer.sign("POST", f"{url}?uploadId={upload_id}"),
        "maxPartSize": part_size,
    }
    return answer


async def post_download(
    request: Request, system: System, user: User, body: PostFileDownloadRequest
) -> dict[str, Any]:
    """A presigned URL to get a file from, once the job that sends it there is done."""
    state = state_of(request)
    _s3_directives(body)
    size = (await stat_fields(request, body.path, dereference=True))["size"]
    bucket, key, upload_id = _start_upload(state, user, body.path)
    url = f"{state.s3_url}/{bucket}/{quote(key, safe='/-_.~')}"
    signer, part_size = state.presigner, state.config.max_part_size
    job_urls = [
        signer.sign("PUT", f"{url}?uploadId={upload_id}&partNumber={number}")
        for number in range(1, math.ceil(size / part_size) + 1)
    ]
    job_urls.append(signer.sign("POST", f"{url}?uploadId={upload_id}"))
    job = egress_job(body.path, job_urls, part_size)
    if state.faults.take(("file_job_does_nothing",), "POST", request.url.path):
        job = idle_job(job)
    answer = _submit(state, system, user, job, body.account)
    answer["transferDirectives"] = {"transferMethod": "s3", "downloadUrl": signer.sign("GET", url)}
    return answer


def _s3_directives(body: PostFileUploadRequest | PostFileDownloadRequest) -> S3TransferRequest:
    directives = body.transfer_directives
    if directives.transfer_method is not DataTransferType.s3 or not isinstance(directives, S3TransferRequest):
        raise ApiError(400, "Requested transfer method is not available.")
    return directives


def _hold(state: LocalState, path: str) -> Hold | None:
    fault = state.faults.take(HOLD_ACTIONS, "POST", path)
    if fault is None:
        return None
    return Hold(int(fault.body or 2), state.hold_file(), fault.delay_s)


def _start_upload(state: LocalState, user: str, path: str) -> tuple[str, str, str]:
    key = f"{uuid.uuid4()}/{PurePosixPath(path).name}"
    if "\n" in key:
        text = "('An error occurred (404) when calling the CreateMultipartUpload operation: Not Found',)"
        raise ApiError(500, text, anonymous=True)
    return user, key, state.store.create_upload(user, key)


def _submit_file_job(
    request: Request, system: SystemConfig, user: str, job: FileJob, account: str | None
) -> dict[str, Any]:
    state = state_of(request)
    if state.faults.take(("file_job_does_nothing",), request.method, request.url.path):
        job = idle_job(job)
    return _submit(state, system, user, job, account)


def _submit(
    state: LocalState, system: SystemConfig, user: str, job: FileJob, account: str | None
) -> dict[str, Any]:
    """Give the job to the scheduler and describe it; ``account`` counts only where directives have one."""
    directives = list(state.config.transfer_directives)
    if system.account_required:
        if not account:
            raise ApiError(400, "Account parameter is required on this system.")
        directives.append(f"#SBATCH --account={account}")
    work_dir = state.sandbox.work_dir(user)
    mark = uuid.uuid4()
    logs = {
        "outputLog": f"{work_dir}/.f7t_file_handling_job_{mark}.log",
        "errorLog": f"{work_dir}/.f7t_file_handling_job_error_{mark}.log",
    }
    try:
        job_id = state.scheduler.submit(
            job.script(directives),
            user=user,
            working_dir=work_dir,
            name=job.name,
            env={"PATH": "/bin:/usr/bin/:/usr/local/bin/"},
            stdin="/dev/null",
            stdout=logs["outputLog"],
            stderr=logs["errorLog"],
        )
    except SbatchError as error:
        raise slurm_failure(error) from error
    return {
        "transferJob": {"jobId": job_id, "system": system.name, "workingDirectory": work_dir, "logs": logs}
    }
