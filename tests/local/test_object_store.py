"""The object store keeps the rules of S3 that presigned multipart transfers rest on."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests

from airflow_provider_firecrest.local.object_store import ObjectStore, Part, StoreError
from airflow_provider_firecrest.local.presign import Presigner, SignatureError
from tests.fixtures_local import FirecrestForTest

MIB = 1024 * 1024


class Upload:
    """A started upload of ``size`` bytes as a client of the API sees it."""

    def __init__(self, firecrest: FirecrestForTest, size: int, name: str = "object") -> None:
        self.headers = {"Authorization": f"Bearer {firecrest.mint_token()}"}
        self.url = f"{firecrest.base_url}/filesystem/cluster/transfer"
        self.path = firecrest.directory / name
        body = {"path": str(self.path), "transferDirectives": {"transferMethod": "s3", "fileSize": size}}
        answer = requests.post(f"{self.url}/upload", json=body, headers=self.headers, timeout=10)
        assert answer.status_code == 201, answer.text
        directives = answer.json()["transferDirectives"]
        self.parts: list[str] = directives["partsUploadUrls"]
        self.completion: str = directives["completeUploadUrl"]
        self.part_size: int = directives["maxPartSize"]
        self.job_id: str = answer.json()["transferJob"]["jobId"]
        self.key = self.completion.partition("?")[0].partition("/s3/fireuser/")[2]
        self._firecrest = firecrest

    def put(self, content: bytes, number: int) -> str:
        """Send one part; its ETag."""
        piece = content[(number - 1) * self.part_size : number * self.part_size]
        answer = requests.put(self.parts[number - 1], data=piece, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.headers["ETag"]

    def complete(self, etags: list[tuple[int, str]]) -> requests.Response:
        """Name the parts and make the object."""
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in etags)
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
        return requests.post(self.completion, data=body, timeout=30)

    def stored(self) -> dict[str, object] | None:
        """The object as the store's own listing shows it."""
        found = [o for o in self._firecrest.objects()["objects"] if o["key"] == self.key]
        return found[0] if found else None

    def cancel(self) -> None:
        """Leave no upload job waiting."""
        url = self.url.replace("/filesystem/cluster/transfer", f"/compute/cluster/jobs/{self.job_id}")
        requests.delete(url, headers=self.headers, timeout=10)


@pytest.fixture
def small(firecrest: FirecrestForTest) -> Iterator[Upload]:
    upload = Upload(firecrest, 9)
    yield upload
    upload.cancel()


@pytest.fixture
def large(firecrest: FirecrestForTest) -> Iterator[Upload]:
    upload = Upload(firecrest, 20 * MIB)
    yield upload
    upload.cancel()


def _code(answer: requests.Response) -> str:
    """The error code of an XML answer."""
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "Error"
    assert root.findtext("Message")
    assert root.findtext("RequestId")
    return str(root.findtext("Code"))


def test_parts_sent_side_by_side_make_the_object(large: Upload) -> None:
    content = random.Random(1).randbytes(20 * MIB)

    with ThreadPoolExecutor(3) as pool:
        etags = list(pool.map(lambda number: (number, large.put(content, number)), (3, 1, 2)))
    answer = large.complete(sorted(etags))

    digests = [hashlib.md5(content[i : i + 8 * MIB]).digest() for i in range(0, len(content), 8 * MIB)]
    expected = f"{hashlib.md5(b''.join(digests)).hexdigest()}-3"
    assert answer.status_code == 200
    assert f'<ETag>"{expected}"</ETag>' in answer.text
    stored = large.stored()
    assert stored is not None
    assert stored["sha256"] == hashlib.sha256(content).hexdigest()
    assert stored["size"] == len(content)


def test_a_part_sent_again_replaces_the_first(small: Upload) -> None:
    small.put(b"first try", 1)
    etag = small.put(b"123456789", 1)

    small.complete([(1, etag)])

    stored = small.stored()
    assert stored is not None
    assert stored["sha256"] == hashlib.sha256(b"123456789").hexdigest()


def test_wrong_etag_is_an_invalid_part(small: Upload) -> None:
    small.put(b"123456789", 1)

    answer = small.complete([(1, '"0123456789abcdef0123456789abcdef"')])

    assert (answer.status_code, _code(answer)) == (400, "InvalidPart")
    assert small.stored() is None


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([2, 1], "InvalidPartOrder"),
        ([1, 1], "InvalidPartOrder"),
        ([], "MalformedXML"),
        ([1, 4], "InvalidPart"),
    ],
)
def test_bad_lists_of_parts_are_refused(large: Upload, numbers: list[int], code: str) -> None:
    content = bytes(20 * MIB)
    etags = {number: large.put(content, number) for number in (1, 2)}

    answer = large.complete([(number, etags.get(number, '"none"')) for number in numbers])

    assert (answer.status_code, _code(answer)) == (400, code)


@pytest.mark.parametrize("body", [b"", b"no xml", b"<Other/>", b"<!DOCTYPE x><CompleteMultipartUpload/>"])
def test_unreadable_completion_is_malformed(small: Upload, body: bytes) -> None:
    answer = requests.post(small.completion, data=body, timeout=10)

    assert (answer.status_code, _code(answer)) == (400, "MalformedXML")


def test_only_the_last_part_may_be_small(large: Upload) -> None:
    etags = [(1, large.put(b"tiny", 1)), (2, large.put(bytes(9 * MIB), 2))]

    answer = large.complete(etags)

    assert (answer.status_code, _code(answer)) == (400, "EntityTooSmall")


def test_completing_twice_finds_no_upload(small: Upload) -> None:
    etag = small.put(b"123456789", 1)
    small.complete([(1, etag)])

    again = small.complete([(1, etag)])

    assert (again.status_code, _code(again)) == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    "change",
    [
        ("partNumber=1", "partNumber=2"),
        ("X-Amz-Expires=604800", "X-Amz-Expires=999999"),
        ("/object?", "/other?"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
    ],
)
def test_a_changed_url_is_refused(small: Upload, change: tuple[str, str]) -> None:
    url = small.parts[0]
    assert change[0] in url

    answer = requests.put(url.replace(*change), data=b"x", timeout=10)

    assert (answer.status_code, _code(answer)) == (403, "SignatureDoesNotMatch")


def test_an_unsigned_url_is_refused(small: Upload) -> None:
    answer = requests.get(small.completion.partition("?")[0], timeout=10)

    assert (answer.status_code, _code(answer)) == (403, "AccessDenied")


def test_a_bearer_token_besides_the_signature_is_refused(small: Upload) -> None:
    answer = requests.put(small.parts[0], data=b"x", headers=small.headers, timeout=10)

    assert (answer.status_code, _code(answer)) == (400, "InvalidArgument")


def test_a_url_is_good_for_one_method(small: Upload) -> None:
    assert requests.get(small.parts[0], timeout=10).status_code == 403
    assert requests.head(small.parts[0], timeout=10).status_code == 403


@pytest.fixture
def download_url(firecrest: FirecrestForTest) -> str:
    """A presigned URL of a stored object of ten bytes."""
    upload = Upload(firecrest, 10, "ten")
    upload.complete([(1, upload.put(b"0123456789", 1))])
    _until(lambda: upload.path.exists() and upload.path.stat().st_size == 10, "the upload job to finish")
    body = {"path": str(upload.path), "transferDirectives": {"transferMethod": "s3"}}
    answer = requests.post(f"{upload.url}/download", json=body, headers=upload.headers, timeout=10)
    url: str = answer.json()["transferDirectives"]["downloadUrl"]
    _until(lambda: requests.get(url, timeout=10).status_code == 200, "the download job to finish")
    return url


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("asked", "content", "range_"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=4-99", b"456789", "bytes 4-9/10"),
    ],
)
def test_ranges_are_cut_out(download_url: str, asked: str, content: bytes, range_: str) -> None:
    answer = requests.get(download_url, headers={"Range": asked}, timeout=10)

    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["Content-Range"] == range_


def test_a_range_behind_the_end_is_refused(download_url: str) -> None:
    answer = requests.get(download_url, headers={"Range": "bytes=10-"}, timeout=10)

    assert (answer.status_code, _code(answer)) == (416, "InvalidRange")


def test_if_match_holds_for_the_etag_alone(download_url: str) -> None:
    etag = requests.get(download_url, timeout=10).headers["ETag"]

    same = requests.get(download_url, headers={"If-Match": etag}, timeout=10)
    other = requests.get(download_url, headers={"If-Match": '"other"'}, timeout=10)

    assert same.status_code == 200
    assert (other.status_code, _code(other)) == (412, "PreconditionFailed")


def test_a_body_that_breaks_off_leaves_no_part(firecrest: FirecrestForTest, small: Upload) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.put(small.parts[0], data=_breaking_off(), headers={"Content-Length": "9"}, timeout=10)

    uploads = [u for u in firecrest.objects()["uploads"] if u["key"] == small.key]
    assert [u["parts"] for u in uploads] == [[]]


def _breaking_off() -> Iterator[bytes]:
    yield b"1234"
    raise requests.ConnectionError("the network is gone")


# Below HTTP: what cannot be reached through FirecREST's own URLs.


def test_a_url_expires() -> None:
    signer = Presigner(60)
    earlier = datetime.now(UTC) - timedelta(seconds=61)
    url = signer.sign("GET", "http://host/s3/b/k", now=earlier)

    with pytest.raises(SignatureError, match="expired") as refused:
        signer.check("GET", "/s3/b/k", url.partition("?")[2], "host")

    assert (refused.value.status, refused.value.code) == (403, "AccessDenied")


def test_another_servers_url_is_refused() -> None:
    url = Presigner(60).sign("GET", "http://host/s3/b/k")

    with pytest.raises(SignatureError):
        Presigner(60).check("GET", "/s3/b/k", url.partition("?")[2], "host")


def test_aborting_forgets_the_upload_and_its_bytes(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store", smallest_part=1)
    upload = store.create_upload("b", "k")
    file = store.new_part_file(upload, "b", "k", 1)
    file.write_bytes(b"x")
    store.add_part(upload, "b", "k", Part(1, file, 1, hashlib.md5(b"x").hexdigest()))

    store.abort(upload, "b", "k")

    assert list((tmp_path / "store").iterdir()) == []
    with pytest.raises(StoreError, match="does not exist"):
        store.complete(upload, "b", "k", [(1, hashlib.md5(b"x").hexdigest())])


def test_an_upload_belongs_to_its_key(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store", smallest_part=1)
    upload = store.create_upload("b", "k")

    with pytest.raises(StoreError, match="does not exist"):
        store.new_part_file(upload, "b", "another", 1)


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers_have_limits(tmp_path: Path, number: int) -> None:
    store = ObjectStore(tmp_path / "store", smallest_part=1)
    upload = store.create_upload("b", "k")

    with pytest.raises(StoreError, match=re.escape("between 1 and 10000")):
        store.new_part_file(upload, "b", "k", number)
