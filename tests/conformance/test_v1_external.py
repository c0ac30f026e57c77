"""Replays of ``/storage/xfer-external``: the statuses 110 to 118, forms, URLs, and their ends."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import requests

from tests.conformance.v1_harness import (
    V1Replayer,
    check_same_answer,
    check_same_json,
    check_same_task,
    load,
    matching,
)
from tests.conformance.v1_trees import add_transfer_files, make_home

_REFUSED = [
    *(f"xfer-ext-upload-{name}" for name in ("missing-target", "denied-target", "no-source", "under-file")),
    *(f"xfer-ext-download-{name}" for name in ("denied-source", "dir", "missing-source", "no-source")),
    *("xfer-ext-invalidate-no-header", "xfer-ext-invalidate-unknown"),
]
OUT_OF_REACH = {
    "xfer-ext-upload-400-no-bucket-seq": "the recorded store could not make a bucket; this one needs none",
    "xfer-ext-upload-storage-restart-at-113": "the storage service was restarted while it copied",
}
REPLAYED = [name for name in matching("xfer-ext") if name not in OUT_OF_REACH]
CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def xfer(v1_replayer: V1Replayer) -> Path:
    top = make_home(v1_replayer.home)
    add_transfer_files(top)
    return top / "xfer"


@pytest.mark.parametrize("name", _REFUSED)
@pytest.mark.usefixtures("xfer")
def test_staging_is_refused_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    check_same_answer(v1_replayer, load(name), v1_replayer.send(load(name)))


def _task_of(response: requests.Response) -> str:
    assert response.status_code == 201, response.text
    return str(response.json()["task_id"])


def _form_of(replayer: V1Replayer, task_id: str) -> dict[str, Any]:
    """The parameters of the form, once the task has them."""
    task = replayer.statuses(task_id, until=("111",))[-1]
    return dict(task["data"]["msg"]["parameters"])


def _post(form: dict[str, Any], content: bytes = CONTENT, **changes: Any) -> requests.Response:
    request = {"data": form["data"], "files": {"file": ("any.bin", content)}, **changes}
    return requests.post(form["url"], timeout=20, **request)


def _xml(text: str) -> tuple[str, str]:
    """Code and message of an S3 error."""
    root = ElementTree.fromstring(text)
    return str(root.findtext("Code")), str(root.findtext("Message"))


@pytest.mark.parametrize(
    ("request_name", "sequence"),
    [
        ("xfer-ext-upload-request", "xfer-ext-upload-seq-from-111"),
        ("xfer-ext-upload2-request", "xfer-ext-upload2-seq-from-111"),
        ("xfer-ext-upload3-request-target-file", "xfer-ext-upload3-seq"),
        # The same statuses, however long the copy takes and although the service was restarted at 111.
        ("xfer-ext-upload-request", "xfer-ext-upload-slow-copy"),
        ("restart111", "xfer-ext-upload-storage-restart-at-111"),
    ],
)
def test_upload_goes_as_recorded(
    v1_replayer: V1Replayer, xfer: Path, request_name: str, sequence: str
) -> None:
    if request_name == "restart111":
        form = {"targetPath": str(xfer), "sourcePath": "/data/restart111.bin"}
        response = v1_replayer.call("POST", "/storage/xfer-external/upload", data=form)
    else:
        response = v1_replayer.send(load(request_name))
        check_same_answer(v1_replayer, load(request_name), response)
    task_id = _task_of(response)

    posted = _post(_form_of(v1_replayer, task_id))
    seen = v1_replayer.statuses(task_id)

    recorded = load(sequence)
    assert posted.status_code == 204
    check_same_task(v1_replayer, recorded, _with_first(v1_replayer, recorded, seen))
    target = Path(v1_replayer.localise(recorded.tasks[-1]["data"]["target"]))
    assert target.read_bytes() == CONTENT


def _with_first(replayer: V1Replayer, recorded: Any, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``seen`` with the status the recorded polls began at."""
    first = recorded.tasks[0]["status"]
    return seen if seen[0]["status"] == first else [{"status": first}, *seen]


def test_statuses_before_the_form_are_as_recorded(v1_replayer: V1Replayer, xfer: Path) -> None:
    recorded = load("xfer-ext-upload-seq-until-111")
    response = v1_replayer.send(load("xfer-ext-upload-request"))

    seen = v1_replayer.statuses(_task_of(response), until=("111",))

    assert [task["status"] for task in seen] == ["110", "111"]
    for ours, theirs in zip(seen, recorded.tasks, strict=True):
        check_same_json(v1_replayer.anonymise(ours), v1_replayer.anonymise(theirs))
    assert xfer.is_dir()


@pytest.mark.usefixtures("xfer")
def test_the_list_view_leaks_what_the_single_view_hides(v1_replayer: V1Replayer) -> None:
    recording = load("xfer-ext-upload-task-list-view-at-111")
    task_id = _task_of(v1_replayer.send(load("xfer-ext-upload-request")))
    v1_replayer.statuses(task_id, until=("111",))

    answer = v1_replayer.send(recording, params={"tasks": task_id}).json()["tasks"]

    ours = answer[task_id]["data"]["msg"]
    theirs = next(iter(recording.response["json"]["tasks"].values()))
    assert [type(item) for item in ours.pop("cert")] == [
        type(item) for item in theirs["data"]["msg"].pop("cert")
    ]
    check_same_json(v1_replayer.anonymise(answer[task_id]), v1_replayer.anonymise(theirs))
    assert "download_url" not in v1_replayer.task(task_id)["data"]["msg"]


@pytest.mark.usefixtures("xfer")
def test_own_post_of_the_form_is_answered_as_recorded(v1_replayer: V1Replayer) -> None:
    form = _form_of(v1_replayer, _task_of(v1_replayer.send(load("xfer-ext-upload2-request"))))

    response = _post(form)

    recorded = load("xfer-ext-upload2-own-post").response
    assert response.status_code == recorded["status"]
    assert response.text == recorded["text"]
    assert v1_replayer.anonymise(response.headers["location"]) == v1_replayer.anonymise(
        recorded["headers"]["location"]
    )
    assert response.headers["etag"].strip('"')
    assert sorted(form["data"]) == sorted(load("xfer-ext-upload2-own-post").request["form"])


def _file_first(form: dict[str, Any]) -> requests.Response:
    fields = [("file", ("x", CONTENT)), *((name, (None, value)) for name, value in form["data"].items())]
    return requests.post(form["url"], files=fields, timeout=20)


def _chunked(form: dict[str, Any]) -> requests.Response:
    prepared = requests.Request("POST", form["url"], data=form["data"], files={"file": CONTENT}).prepare()
    body = prepared.body
    assert isinstance(body, bytes)

    def pieces() -> Iterator[bytes]:
        yield body

    headers = {"Content-Type": prepared.headers["Content-Type"]}
    return requests.post(form["url"], data=pieces(), headers=headers, timeout=20)


VARIANTS = {
    "normal multipart, file last": _post,
    "with Authorization bearer header": lambda form: _post(form, headers={"Authorization": "Bearer x"}),
    "extra form field": lambda form: _post(form, data={**form["data"], "foo": "bar"}),
    "file part first": _file_first,
    "wrong file field name": lambda form: _post(form, files={"data": ("x", CONTENT)}),
    "urlencoded": lambda form: requests.post(form["url"], data={**form["data"], "file": "x"}, timeout=20),
    "chunked (no Content-Length)": _chunked,
    "PUT instead of POST": lambda form: requests.put(form["url"], data=CONTENT, timeout=20),
    "key changed": lambda form: _post(form, data={**form["data"], "key": "another/key"}),
}


def test_every_recorded_variant_of_the_post_is_tried() -> None:
    assert sorted(VARIANTS) == sorted(load("xfer-ext-upload-post-variants").content["results"])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("xfer")
def test_variant_of_the_post_is_answered_as_recorded(v1_replayer: V1Replayer, variant: str) -> None:
    recorded = load("xfer-ext-upload-post-variants").content["results"][variant]
    form = _form_of(v1_replayer, _task_of(v1_replayer.send(load("xfer-ext-upload-request"))))

    response = VARIANTS[variant](form)

    assert response.status_code == recorded["status"], response.text
    if recorded["text"]:
        got, expected = _xml(response.text), _xml(recorded["text"])
        assert v1_replayer.anonymise(got[1]) == v1_replayer.anonymise(
            expected[1].replace("up1.bin", form["data"]["key"].partition("/")[2])
        )
        assert got[0] == expected[0]


def test_a_form_posts_one_object_of_any_size_with_a_flat_digest(v1_replayer: V1Replayer, xfer: Path) -> None:
    form = _form_of(v1_replayer, _task_of(v1_replayer.send(load("xfer-ext-upload-request"))))
    before = len(v1_replayer.server.objects()["objects"])

    _post(form, b"x" * 12_000_000)

    objects = v1_replayer.server.objects()["objects"]
    assert len(objects) == before + 1
    assert (objects[-1]["size"], objects[-1]["bucket"], objects[-1]["key"]) == (
        12_000_000,
        "fireuser",
        form["data"]["key"],
    )
    assert xfer.is_dir()


@pytest.mark.usefixtures("xfer")
def test_a_form_expires(v1_replayer: V1Replayer) -> None:
    v1_replayer.settings(url_ttl=-1)
    form = _form_of(v1_replayer, _task_of(v1_replayer.send(load("xfer-ext-upload-request"))))

    response = _post(form)

    recorded = load("xfer-ext-upload-form-expired").response
    assert response.status_code == recorded["status"]
    assert _xml(response.text) == _xml(recorded["text"])


def test_a_copy_after_the_url_has_expired_fails(v1_replayer: V1Replayer, xfer: Path) -> None:
    recorded = load("xfer-ext-upload-short-expiry-copy")
    v1_replayer.settings(url_ttl=1, polling_interval=2.2)
    form = {"targetPath": str(xfer), "sourcePath": "exp2.bin"}
    source = recorded.tasks[0]["data"]["msg"]["parameters"]["files"]
    form["sourcePath"] = source
    task_id = _task_of(v1_replayer.call("POST", "/storage/xfer-external/upload", data=form))

    assert _post(_form_of(v1_replayer, task_id)).status_code == 204
    seen = v1_replayer.statuses(task_id, until=("115",))

    target = recorded.tasks[-1]["data"]["target"]
    assert seen[-1]["status"] == recorded.tasks[-1]["status"]
    ours = {**seen[-1], "data": {**seen[-1]["data"], "target": target}}
    check_same_json(v1_replayer.anonymise(ours), v1_replayer.anonymise(recorded.tasks[-1]))


def _upload_into(replayer: V1Replayer, directory: Path) -> str:
    """A posted upload whose directory is gone when the file is to be copied."""
    directory.mkdir()
    form = {"targetPath": str(directory), "sourcePath": "/data/up1.bin"}
    task_id = _task_of(replayer.call("POST", "/storage/xfer-external/upload", data=form))
    parameters = _form_of(replayer, task_id)
    directory.rmdir()
    assert _post(parameters).status_code == 204
    return task_id


def test_115_is_not_the_end(v1_replayer: V1Replayer, xfer: Path) -> None:
    recorded = load("xfer-ext-upload-115-then-retry-114")
    task_id = _upload_into(v1_replayer, xfer / "vol")

    failed = v1_replayer.statuses(task_id, until=("115",))
    (xfer / "vol").mkdir()
    seen = [*failed, *v1_replayer.statuses(task_id, until=("114",))]

    check_same_json(
        v1_replayer.anonymise(failed[-1]),
        v1_replayer.anonymise(next(task for task in recorded.tasks if task["status"] == "115")),
    )
    assert [task["status"] for task in seen if task["status"] in ("114", "115")][-1] == "114"
    check_same_json(v1_replayer.anonymise(seen[-1]), v1_replayer.anonymise(recorded.tasks[-1]))
    assert (xfer / "vol" / "up1.bin").read_bytes() == CONTENT


def test_a_staged_object_that_is_gone_ends_the_upload(v1_replayer: V1Replayer, xfer: Path) -> None:
    recorded = load("xfer-ext-upload-115-object-gone-400")
    task_id = _upload_into(v1_replayer, xfer / "vol2")
    v1_replayer.statuses(task_id, until=("115",))

    v1_replayer.server.control("DELETE", f"objects?bucket=fireuser&key={task_id}/up1.bin")
    seen = v1_replayer.statuses(task_id, until=("400",))

    check_same_json(v1_replayer.anonymise(seen[-1]), v1_replayer.anonymise(recorded.tasks[-1]))


def test_every_odd_name_can_be_posted_and_some_break_the_command(v1_replayer: V1Replayer, xfer: Path) -> None:
    for label, recorded in load("xfer-ext-upload-names").content["results"].items():
        name, _, how = label.partition("|")
        form = {"targetPath": str(xfer), "sourcePath": f"/data/{name}"}
        task_id = _task_of(v1_replayer.call("POST", "/storage/xfer-external/upload", data=form))
        parameters = _form_of(v1_replayer, task_id)
        if how == "command":
            words = shlex.split(v1_replayer.task(task_id)["data"]["msg"]["command"])
            # Only a name that stays one word, without curl's own separator, is found.
            works = words[-1] == f"file=@/data/{name}" and "," not in name
            assert works == (recorded["post"][0] == 0), label
            continue
        assert [_post(parameters).status_code] == recorded["post"][:1], label
        assert v1_replayer.statuses(task_id)[-1]["status"] == recorded["final"], label
        assert (xfer / name).read_bytes() == CONTENT


@pytest.mark.usefixtures("xfer")
def test_staging_stands_still_while_the_store_is_down(v1_replayer: V1Replayer) -> None:
    for kind in ("upload", "download"):
        request, sequence = load(f"xfer-ext-{kind}-request-s3-down"), load(f"xfer-ext-{kind}-s3-down")
        v1_replayer.server.fault("task_hangs_at_100", path_regex="xfer-external")

        response = v1_replayer.send(request)

        check_same_answer(v1_replayer, request, response)
        later = _task_of(v1_replayer.send(load("xfer-ext-download-request")))
        v1_replayer.statuses(later)
        check_same_task(v1_replayer, sequence, [v1_replayer.task(response.json()["task_id"])])


@pytest.mark.usefixtures("xfer")
def test_download_goes_as_recorded(v1_replayer: V1Replayer) -> None:
    request, recorded = load("xfer-ext-download-request"), load("xfer-ext-download-seq")

    response = v1_replayer.send(request)

    check_same_answer(v1_replayer, request, response)
    check_same_task(v1_replayer, recorded, v1_replayer.statuses(_task_of(response)))


def _url_of(replayer: V1Replayer) -> tuple[str, str]:
    """Task and URL of a finished download."""
    task = replayer.result(replayer.send(load("xfer-ext-download-request")))
    return task["task_id"], task["data"]["url"]


def test_the_url_is_answered_as_recorded(v1_replayer: V1Replayer, xfer: Path) -> None:
    _, url = _url_of(v1_replayer)
    plain, with_header = load("xfer-ext-download-get"), load("xfer-ext-download-get-with-auth-header")

    got = requests.get(url, timeout=20)
    refused = requests.get(url, headers={"Authorization": "Bearer x"}, timeout=20)

    assert got.status_code == plain.response["status"]
    assert len(got.content) == len((xfer / "up1.bin").read_bytes())
    assert got.content == (xfer / "up1.bin").read_bytes()
    for header in ("accept-ranges", "content-type"):
        assert got.headers[header] == plain.response["headers"][header]
    assert refused.status_code == with_header.response["status"]
    assert _xml(refused.text) == _xml(with_header.response["text"])
    assert requests.head(url, timeout=20).status_code == 403
    assert requests.get(url, headers={"Range": "bytes=0-9"}, timeout=20).status_code == 206


@pytest.mark.usefixtures("xfer")
def test_an_expired_url_leaves_the_task_as_it_was(v1_replayer: V1Replayer) -> None:
    v1_replayer.settings(url_ttl=-1)
    form = {"sourcePath": v1_replayer.localise("/home/fireuser/rig1/hello.txt")}
    task = v1_replayer.result(v1_replayer.call("POST", "/storage/xfer-external/download", data=form))

    response = requests.get(task["data"]["url"], timeout=20)

    expired, after = load("xfer-ext-download-url-expired"), load("xfer-ext-download-task-after-url-expired")
    assert response.status_code == expired.response["status"]
    assert _xml(response.text) == _xml(expired.response["text"])
    check_same_answer(v1_replayer, after, v1_replayer.send(after, url=f"/tasks/{task['task_id']}"))


@pytest.mark.usefixtures("xfer")
def test_invalidating_a_url_changes_one_view_of_the_task_and_nothing_else(v1_replayer: V1Replayer) -> None:
    task_id, url = _url_of(v1_replayer)
    header = {"headers": {"X-Task-Id": task_id}}

    for name in ("xfer-ext-invalidate-other-user", "xfer-ext-invalidate", "xfer-ext-invalidate-twice"):
        check_same_answer(v1_replayer, load(name), v1_replayer.send(load(name), **header))

    single, listed = load("xfer-ext-task-after-invalidate"), load("xfer-ext-tasklist-after-invalidate")
    check_same_answer(v1_replayer, single, v1_replayer.send(single, url=f"/tasks/{task_id}"))
    check_same_answer(v1_replayer, listed, v1_replayer.send(listed, params={"tasks": task_id}))
    still = load("xfer-ext-download-get-after-invalidate").response["status"]
    assert requests.get(url, timeout=20).status_code == still


def test_names_that_break_the_download_are_those_recorded(v1_replayer: V1Replayer, xfer: Path) -> None:
    directory = xfer.parent / "xd"
    for name, recorded in load("xfer-ext-download-names").content["results"].items():
        content = recorded["get"][1] if recorded["get"] else "any\n"
        (directory / name).write_text(content)

        form = {"sourcePath": str(directory / name)}
        task = v1_replayer.result(v1_replayer.call("POST", "/storage/xfer-external/download", data=form))

        check_same_json(v1_replayer.anonymise(task), v1_replayer.anonymise(recorded["task"]))
        if recorded["get"] is not None:
            got = requests.get(task["data"]["url"], timeout=20)
            assert [got.status_code, got.content.decode()] == recorded["get"]


@pytest.mark.usefixtures("xfer")
def test_a_store_that_refuses_ends_the_download_at_118(v1_replayer: V1Replayer) -> None:
    recorded = load("xfer-ext-download-118-s3-503")
    v1_replayer.server.fault("staging_fails", status=503)

    form = {"sourcePath": v1_replayer.localise(recorded.tasks[-1]["data"]["source"])}
    response = v1_replayer.call("POST", "/storage/xfer-external/download", data=form)

    check_same_task(v1_replayer, recorded, v1_replayer.statuses(_task_of(response)))


def test_an_upload_can_be_made_to_claim_success_without_a_file(v1_replayer: V1Replayer, xfer: Path) -> None:
    shutil.rmtree(xfer)
    xfer.mkdir()
    v1_replayer.server.fault("ingress_says_success_without_file", path_regex="/v1/")
    task_id = _task_of(v1_replayer.send(load("xfer-ext-upload-request")))

    _post(_form_of(v1_replayer, task_id))

    assert v1_replayer.statuses(task_id)[-1]["status"] == "114"
    assert list(xfer.iterdir()) == []
