"""A name that a call was seen to break is refused by that call's rule; one that works is let through."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_firecrest.client import paths
from airflow_provider_firecrest.client.errors import FirecrestError, InvalidRequestError
from airflow_provider_firecrest.client.flow import Flow

from . import recorded_v1
from .recorded import api, load, play, response

OPS = {key: value for key, value in load("names_ops_table").items() if isinstance(value, dict)}
TRANSFER = {key: value for key, value in load("names_transfer_table").items() if isinstance(value, dict)}


def worked(answer: Any) -> bool:
    return bool(answer[0] < 400)


# What was measured: rule, table, how the table says that a name arrived under its own name.
MEASURED: list[tuple[str, paths.Rule, dict[str, Any], Any]] = [
    ("stat", paths.OPS, OPS, lambda row: worked(row["stat"])),
    ("download", paths.OPS, OPS, lambda row: worked(row["download"])),
    ("mkdir", paths.OPS, OPS, lambda row: worked(row["mkdir"]) and row["mkdir_exists"]),
    ("checksum", paths.CHECKSUM, OPS, lambda row: worked(row["checksum"])),
    (
        "upload",
        paths.OPS_UPLOAD_NAME,
        OPS,
        lambda row: worked(row["upload_as_filename"]) and row["exists_after_upload"],
    ),
    ("cp", paths.FILE_JOB, TRANSFER, lambda row: row["cp_made_file"]),
    ("staged upload", paths.STAGED_UPLOAD, TRANSFER, lambda row: row["s3_upload_made_file"]),
    ("staged download", paths.STAGED_DOWNLOAD, TRANSFER, lambda row: row["download_ok"]),
]

# Refused although they worked in the measurement, and why.
STRICTER = {
    # The tool's answer is cut at blanks; a trailing one happened to do no harm.
    ("checksum", "trail"),
    # sha256sum escapes such a name in its answer, which only newer servers may keep reading.
    ("checksum", "newline"),
}

CASES = [
    pytest.param(call, rule, name, row["name"], arrived(row), id=f"{call}-{name}")
    for call, rule, table, arrived in MEASURED
    for name, row in table.items()
]


@pytest.mark.parametrize(("call", "rule", "name", "text", "arrived"), CASES)
def test_a_name_is_let_through_exactly_when_the_server_was_seen_to_carry_it(
    call: str, rule: paths.Rule, name: str, text: str, arrived: bool
) -> None:
    allowed = paths.can_carry(f"/scratch/{text}", rule)

    if (call, name) in STRICTER:
        assert arrived
        assert not allowed
    else:
        assert allowed == arrived


@pytest.mark.parametrize(("call", "rule", "name", "text", "arrived"), CASES)
def test_check_and_can_carry_agree(call: str, rule: paths.Rule, name: str, text: str, arrived: bool) -> None:
    path = f"/scratch/{text}"

    if paths.can_carry(path, rule):
        assert paths.check(path, rule) == path
        return
    with pytest.raises(InvalidRequestError, match=r"^target_path: ") as raised:
        paths.check(path, rule, field="target_path")
    assert rule.call in str(raised.value)


@pytest.mark.parametrize(
    "rule", [paths.OPS, paths.OPS_UPLOAD_NAME, paths.FILE_JOB, paths.STAGED_UPLOAD, paths.STAGED_DOWNLOAD]
)
@pytest.mark.parametrize("text", ["plain.txt", "ünï-日本.txt", "-dash", "a+b=c@d%25_.-", "st*r"])
def test_every_call_carries_ordinary_names(rule: paths.Rule, text: str) -> None:
    assert paths.check(f"/scratch/{text}", rule) == f"/scratch/{text}"


@pytest.mark.parametrize("rule", [rule for _, rule, _, _ in MEASURED], ids=[call for call, *_ in MEASURED])
def test_no_call_carries_a_single_quote_or_a_nul(rule: paths.Rule) -> None:
    assert not paths.can_carry("/scratch/it's", rule)
    assert not paths.can_carry("/scratch/a\x00b", rule)


@pytest.mark.parametrize(
    "text", ["$(id)", "`id`", "a${HOME}", "a&b", "a;b", "a b", "a>b", 'a"b', "a\\b", "a|b", "~"]
)
def test_a_staged_download_carries_nothing_its_job_would_execute_or_split(text: str) -> None:
    assert not paths.can_carry(f"/scratch/{text}", paths.STAGED_DOWNLOAD)


@pytest.mark.parametrize("text", ["$(id)", "`id`", "${HOME}", "a&b", "a<b", "a>b", 'a"b', "a\nb"])
def test_a_staged_upload_carries_nothing_its_job_would_execute_or_rewrite(text: str) -> None:
    assert not paths.can_carry(f"/scratch/{text}", paths.STAGED_UPLOAD)


@pytest.mark.parametrize("path", ["", "scratch/a", "./a", "../a", "~/a", " /a"])
def test_only_absolute_paths_are_carried(path: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^source_path: "):
        paths.check(path, paths.OPS, field="source_path")
    assert not paths.can_carry(path, paths.OPS)


@pytest.mark.parametrize(
    ("path", "sent"), [("//scratch/a", "/scratch/a"), ("///scratch", "/scratch"), ("/", "/")]
)
def test_a_doubled_slash_in_front_is_made_one(path: str, sent: str) -> None:
    """The server refuses ``//scratch`` as outside its file systems."""
    assert paths.check(path, paths.OPS) == sent


@pytest.mark.parametrize(
    ("char", "named"), [(" ", "a blank"), ("\n", "a newline"), ("\t", "a tab"), ("\r", "a carriage return")]
)
def test_an_invisible_character_is_named(char: str, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        paths.check(f"/scratch/a{char}b", paths.CHECKSUM)


@pytest.mark.parametrize(
    ("directory", "name", "joined"),
    [("/a", "b", "/a/b"), ("/a/", "b", "/a/b"), ("/", "b", "/b")],
)
def test_directory_and_name_are_joined_and_parted(directory: str, name: str, joined: str) -> None:
    assert paths.join(directory, name) == joined
    assert paths.basename(joined) == name
    assert paths.parent(joined) == directory.rstrip("/") or directory == "/"


QUOTED = "/scratch/it's"


@pytest.mark.parametrize(
    "call",
    [
        lambda v2: v2.ls(QUOTED),
        lambda v2: v2.stat(QUOTED),
        lambda v2: v2.exists(QUOTED),
        lambda v2: v2.checksum(QUOTED),
        lambda v2: v2.file_type(QUOTED),
        lambda v2: v2.head(QUOTED),
        lambda v2: v2.tail(QUOTED),
        lambda v2: v2.view(QUOTED),
        lambda v2: v2.download(QUOTED),
        lambda v2: v2.upload("/scratch", "it's", b"x"),
        lambda v2: v2.upload(QUOTED, "f", b"x"),
        lambda v2: v2.mkdir(QUOTED),
        lambda v2: v2.rm(QUOTED),
        lambda v2: v2.chmod(QUOTED, "600"),
        lambda v2: v2.chown(QUOTED, owner="me"),
        lambda v2: v2.symlink(QUOTED, "/scratch/l"),
        lambda v2: v2.symlink("/scratch/l", QUOTED),
        lambda v2: v2.compress(QUOTED, "/scratch/t"),
        lambda v2: v2.compress("/scratch/t", QUOTED),
        lambda v2: v2.extract(QUOTED, "/scratch/t"),
        lambda v2: v2.extract("/scratch/t", QUOTED),
        lambda v2: v2.transfer_upload(QUOTED, 1),
        lambda v2: v2.transfer_download(QUOTED),
        lambda v2: v2.transfer_mv(QUOTED, "/scratch/t"),
        lambda v2: v2.transfer_mv("/scratch/t", QUOTED),
        lambda v2: v2.transfer_cp(QUOTED, "/scratch/t"),
        lambda v2: v2.transfer_cp("/scratch/t", QUOTED),
        lambda v2: v2.transfer_rm(QUOTED),
        lambda v2: v2.transfer_compress(QUOTED, "/scratch/t"),
        lambda v2: v2.transfer_compress("/scratch/t", QUOTED),
        lambda v2: v2.transfer_extract(QUOTED, "/scratch/t"),
        lambda v2: v2.transfer_extract("/scratch/t", QUOTED),
    ],
)
def test_no_call_that_takes_a_path_sends_one_that_would_end_the_servers_quoting(call: Any) -> None:
    """A single quote ends the quoting of the server's shell command: what follows is executed as the user."""
    played = play(call(api()), [])

    assert type(played.error) is InvalidRequestError
    assert played.requests == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("match_pattern", "it's"),
        ("match_pattern", "a\x00b"),
        ("mode", "6'00"),
        ("owner", "me'"),
        ("group", "g'; id; '"),
    ],
)
def test_other_arguments_do_not_end_the_servers_quoting_either(field: str, value: str) -> None:
    v2 = api()
    flows: dict[str, list[Flow[Any]]] = {
        "match_pattern": [
            v2.compress("/s/a", "/s/t", match_pattern=value),
            v2.transfer_compress("/s/a", "/s/t", match_pattern=value),
        ],
        "mode": [v2.chmod("/s/a", value)],
        "owner": [v2.chown("/s/a", owner=value)],
        "group": [v2.chown("/s/a", group=value)],
    }
    for flow in flows[field]:
        played = play(flow, [])
        assert isinstance(played.error, FirecrestError)
        assert field in str(played.error)


@pytest.mark.parametrize("pattern", [r".*\.txt$", r".*/(a|b)[0-9]+\.csv", ".*x.txt", r"\./sub dir/.*"])
def test_an_ordinary_pattern_is_sent_as_it_is(pattern: str) -> None:
    for call in (api().compress, api().transfer_compress):
        played = play(call("/s/a", "/s/t.tgz", match_pattern=pattern), [response("transfer_compress_ok")])
        assert played.request.json["matchPattern"] == pattern


@pytest.mark.parametrize("pattern", ["$(id)", "`id`", "${HOME}.*", "$HOME", '.*"', "a\\\\b", ".*\\$(id)"])
def test_a_pattern_that_the_servers_shell_would_expand_is_not_sent(pattern: str) -> None:
    """With a pattern the direct compress is one double-quoted `bash -c`."""
    played = play(api().compress("/s/a", "/s/t", match_pattern=pattern), [])

    assert type(played.error) is InvalidRequestError


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/s/$(id)/a", "/s/t"),
        ("/s/a b/c", "/s/t"),
        ("/s/a;id/c", "/s/t"),
        ("/s/a", "/s/$(id)"),
        ("/s/a", "/s/`id`"),
    ],
)
def test_a_path_is_not_executed_by_a_compress_with_a_pattern(path: str, target: str) -> None:
    recorded = load("ops_compress_pattern")["rig"]["ssh_commands"][0]["cmd"]
    assert recorded.startswith('timeout 5 bash -c "cd /scratch/fireuser/ops; ')

    with_pattern = play(api().compress(path, target, match_pattern=".*"), [])
    without = play(api().compress(path, target), [response("ops_compress_default")])

    assert type(with_pattern.error) is InvalidRequestError
    assert without.error is None


@pytest.mark.parametrize("flows", [recorded_v1.api(), api()], ids=["v1", "v2"])
def test_a_mode_that_is_a_number_is_refused(flows: Any) -> None:
    """0o644 is 420, and chmod would take that for -r---w----."""
    with pytest.raises(InvalidRequestError, match="mode: 420 is not text"):
        next(flows.chmod("/scratch/me/f", 0o644))
