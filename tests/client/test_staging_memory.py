"""Memory stays flat however large the file and its parts are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.client.s3_double import S3Double

SIZE = 256 * 1024 * 1024
PART = 64 * 1024 * 1024
LIMIT = 40 * 1024  # KiB; the buffers take less than 10

# In a process of its own: the peak of this one holds the store.
SCRIPT = """
import resource, sys
from pathlib import Path
from airflow_provider_firecrest.client.staging import get_object, put_object

source, complete_url, get_url, *part_urls = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
staged = put_object(Path(source), part_urls, complete_url, {part})
fetched = get_object(get_url, Path(source + ".back"), size={size})
assert staged.sha256 == fetched.sha256
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_sending_and_fetching_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(SIZE)

    with S3Double() as store:
        upload = store.start_upload("large", SIZE // PART)
        script = SCRIPT.format(part=PART, size=SIZE)
        urls = [upload.complete_url, store.download_url("large"), *upload.part_urls]
        done = subprocess.run(
            [sys.executable, "-c", script, str(source), *urls],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert int(done.stdout) < LIMIT
    assert (tmp_path / "large.back").stat().st_size == SIZE
