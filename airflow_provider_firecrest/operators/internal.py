"""Operators that move, copy, synchronise, remove, archive and unpack files where they are: on the system.

No bytes pass through Airflow. Each operator says what it does; the story stands in ``_fileops``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._fileops import FileOperator


class _FromTo(FileOperator):
    """Arguments of an operator with a source and a target."""

    def __init__(self, *, source_path: str, target_path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_path = source_path
        self.target_path = target_path

    def arguments(self) -> dict[str, Any]:
        return {"source": self.source_path, "target": self.target_path}


class FirecrestInternalMoveOperator(_FromTo):
    """Moves a file or a directory on the system, and proves it: source gone, target what the source was.

    The result is a JSON dict: ``operation``, ``source``, ``target`` (the full path it has now), ``system``,
    ``way`` (``quick``, ``job``, ``script``), ``job_id``, ``proof`` and ``seconds``.

    :param source_path: absolute path on the system.
    :param target_path: absolute path on the system; a directory is entered (``target_path/name``), and a
        slash at the end says that it is one.
    :param if_exists: what to do when there is something already: ``fail`` or ``overwrite`` (a file).
    :param verify_checksum: where the move crosses file systems, compare contents and not only the size.
    :param after_job_id: start when this job has succeeded; when it fails, the task fails.
    :param job_name: name of the job. Name, time limit, partition and ``after_job_id`` ask for a job.
    :param time_limit: time limit of the job, such as ``02:00:00``.
    :param partition: partition of the job; default: the site's for such jobs, or Slurm's.
    :param account: Slurm account of the job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the job.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts anew
        and cancels the old job first; ``always``: a clear goes on with it too; ``never``: every try starts
        anew.
    :param deferrable: wait for the job in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong; a retry would not help.
    :raises AirflowException: it did not happen, or not wholly; with the evidence.
    """

    operation = "mv"

    def __init__(self, *, if_exists: str = "fail", verify_checksum: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_exists = if_exists
        self.verify_checksum = verify_checksum

    def arguments(self) -> dict[str, Any]:
        options = {"if_exists": self.if_exists, "verify_checksum": self.verify_checksum}
        return {**super().arguments(), **options}


class FirecrestInternalCopyOperator(_FromTo):
    """Copies a file or a directory on the system, and proves it.

    A file must have the same content, a directory the same names, types and sizes.

    The result is the same dict as ``FirecrestInternalMoveOperator``'s; ``way`` can be ``skip``, too.

    :param source_path: absolute path on the system.
    :param target_path: absolute path on the system; a directory is entered (``target_path/name``), and a
        slash at the end says that it is one.
    :param if_exists: what to do when there is something already: ``fail``; ``overwrite``; ``skip`` accepts
        the same file. A directory is never replaced, but written into.
    :param verify_checksum: compare the contents of a file; without it only the size is compared.
    :param after_job_id: start when this job has succeeded; when it fails, the task fails.
    :param job_name: name of the job. Name, time limit, partition and ``after_job_id`` ask for a job.
    :param time_limit: time limit of the job, such as ``02:00:00``.
    :param partition: partition of the job; default: the site's for such jobs, or Slurm's.
    :param account: Slurm account of the job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the job.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts anew
        and cancels the old job first; ``always``: a clear goes on with it too; ``never``: every try starts
        anew.
    :param deferrable: wait for the job in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong; a retry would not help.
    :raises AirflowException: it did not happen, or not wholly; with the evidence.
    """

    operation = "cp"

    def __init__(self, *, if_exists: str = "fail", verify_checksum: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_exists = if_exists
        self.verify_checksum = verify_checksum

    def arguments(self) -> dict[str, Any]:
        options = {"if_exists": self.if_exists, "verify_checksum": self.verify_checksum}
        return {**super().arguments(), **options}


class FirecrestInternalRsyncOperator(_FromTo):
    """Copies what is new or changed, with rsync on the system, and proves it.

    Every name of the source must be in the target, with its type and size.

    The result is the same dict as ``FirecrestInternalMoveOperator``'s.

    :param source_path: absolute path on the system; a slash at the end means "what is in it", as for rsync.
    :param target_path: absolute path on the system.
    :param after_job_id: start when this job has succeeded; when it fails, the task fails.
    :param job_name: name of the job.
    :param time_limit: time limit of the job; default: two hours.
    :param partition: partition of the job; default: Slurm's (v2), the site's for such jobs (v1).
    :param account: Slurm account of the job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the job.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts anew
        and cancels the old job first; ``always``: a clear goes on with it too; ``never``: every try starts
        anew.
    :param deferrable: wait for the job in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong; a retry would not help.
    :raises AirflowException: it did not happen, or not wholly; with the evidence.
    """

    operation = "rsync"


class FirecrestInternalDeleteOperator(FileOperator):
    """Removes a file, or a directory with all in it, and proves that it is gone.

    The result is the same dict as ``FirecrestInternalMoveOperator``'s; ``target`` is None, ``way`` can be
    ``skip``, too.

    :param path: absolute path on the system.
    :param missing_ok: a path that is not there is fine.
    :param after_job_id: start when this job has succeeded; when it fails, the task fails.
    :param job_name: name of the job. Name, time limit, partition and ``after_job_id`` ask for a job.
    :param time_limit: time limit of the job, such as ``02:00:00``.
    :param partition: partition of the job; default: the site's for such jobs, or Slurm's.
    :param account: Slurm account of the job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the job.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts anew
        and cancels the old job first; ``always``: a clear goes on with it too; ``never``: every try starts
        anew.
    :param deferrable: wait for the job in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong; a retry would not help.
    :raises AirflowException: it did not happen, or not wholly; with the evidence.
    """

    operation = "rm"
    template_fields: Sequence[str] = (
        "path",
        *(name for name in FileOperator.template_fields if not name.endswith("_path")),
    )
    ui_color = "#f5e0db"

    def __init__(self, *, path: str, missing_ok: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.missing_ok = missing_ok

    def arguments(self) -> dict[str, Any]:
        return {"source": self.path, "missing_ok": self.missing_ok}


class FirecrestCompressOperator(_FromTo):
    """Makes a tar archive of a file or a directory on the system, and proves that it was written.

    The result is the same dict as ``FirecrestInternalMoveOperator``'s.

    :param source_path: absolute path on the system; it stands in the archive under its own name.
    :param target_path: absolute path of the archive.
    :param compression: ``gzip``, ``bzip2``, ``xz`` or ``none``; default: what the archive's name says
        (``.tar.gz``, ``.tar.bz2``, ``.tar.xz``, ``.tar``), else ``gzip``.
    :param dereference: archive what links point to, not the links.
    :param if_exists: what to do when there is a file of that name: ``fail`` or ``overwrite``.
    :param after_job_id: start when this job has succeeded; when it fails, the task fails.
    :param job_name: name of the job. Name, time limit, partition and ``after_job_id`` ask for a job.
    :param time_limit: time limit of the job, such as ``02:00:00``.
    :param partition: partition of the job; default: the site's for such jobs, or Slurm's.
    :param account: Slurm account of the job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the job.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts anew
        and cancels the old job first; ``always``: a clear goes on with it too; ``never``: every try starts
        anew.
    :param deferrable: wait for the job in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong; a retry would not help.
    :raises AirflowException: it did not happen, or not wholly; with the evidence.
    """

    operation = "compress"

    def __init__(
        self,
        *,
        compression: str | None = None,
        dereference: bool = False,
        if_exists: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.compression = compression
        self.dereference = dereference
        self.if_exists = if_exists

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "compression": self.compression,
            "dereference": self.dereference,
            "if_exists": self.if_exists,
        }


class FirecrestExtractOperator(_FromTo):
    """Unpacks a tar archive into a directory on the system, and proves that something came out of it.

    The result is the same dict as ``FirecrestInternalMoveOperator``'s.

    :param source_path: absolute path of the archive.
    :param target_path: absolute path of an existing directory; files of the same names are replaced.
    :param compression: ``gzip``, ``bzip2``, ``xz`` or ``none``; default: what the archive's name says
        (``.tar.gz``, ``.tar.bz2``, ``.tar.xz``, ``.tar``), else ``gzip``.
    :param after_job_id: start when this job has succeeded; when it fails, the task fails.
    :param job_name: name of the job. Name, time limit, partition and ``after_job_id`` ask for a job.
    :param time_limit: time limit of the job, such as ``02:00:00``.
    :param partition: partition of the job; default: the site's for such jobs, or Slurm's.
    :param account: Slurm account of the job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the job.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts anew
        and cancels the old job first; ``always``: a clear goes on with it too; ``never``: every try starts
        anew.
    :param deferrable: wait for the job in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong; a retry would not help.
    :raises AirflowException: it did not happen, or not wholly; with the evidence.
    """

    operation = "extract"

    def __init__(self, *, compression: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.compression = compression

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "compression": self.compression}
