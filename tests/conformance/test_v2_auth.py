"""Tokens are asked for, accepted and refused as it was recorded, and ids in headers are treated likewise."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable

import jwt
import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest
from tests.conformance.harness import (
    Replayer,
    check_headers,
    check_same_answer,
    check_same_json,
    fetch_token,
    load,
    names,
)

OUT_OF_REACH: dict[str, str] = {}


def _unsigned(_server: LocalFirecrest) -> str:
    return jwt.encode({"preferred_username": "fireuser", "exp": 9_999_999_999}, "", algorithm="none")


def _forged(server: LocalFirecrest) -> str:
    header, body, signature = server.mint_token().split(".")
    return f"{header}.{body}.{signature[::-1]}"


def _fixed(text: str) -> Callable[[LocalFirecrest], str]:
    return lambda _server: text


def _minted(**wish: object) -> Callable[[LocalFirecrest], str]:
    return lambda server: server.mint_token(**wish)


# How the token of each recording was made, and the word in front of it.
AUTHORIZATION: dict[str, tuple[str, Callable[[LocalFirecrest], str]] | None] = {
    "auth_alg_none": ("Bearer", _unsigned),
    "auth_bad_signature": ("Bearer", _forged),
    "auth_basic_scheme": ("Basic", _fixed(base64.b64encode(b"fireuser:x").decode())),
    "auth_expired": ("Bearer", _minted(ttl=-60)),
    "auth_expires_in_20s": ("Bearer", _minted(ttl=20)),
    "auth_expires_in_31s": ("Bearer", _minted(ttl=32)),
    "auth_garbage_three_parts": ("Bearer", _fixed("abc.def.ghi")),
    "auth_garbage_token": ("Bearer", _fixed("garbage")),
    "auth_lowercase_bearer": ("bearer", _minted()),
    "auth_no_scope": ("Bearer", _minted(claims={"scope": None})),
    "auth_no_token": None,
    "auth_no_token_status_systems": None,
    "auth_no_token_unknown_path": None,
    "auth_no_username_claim": ("Bearer", _minted(claims={"preferred_username": None})),
    "auth_unknown_kid": ("Bearer", _minted(key_id="another")),
    "auth_user_without_ssh_key": ("Bearer", _minted(claims={"preferred_username": "nobodyhere"})),
    "auth_wrong_audience": ("Bearer", _minted(claims={"aud": "another"})),
    "auth_wrong_issuer": ("Bearer", _minted(claims={"iss": "another"})),
}
HEADERS = [name for name in names() if name.startswith("headers_")]
TOKENS = [name for name in names() if name.startswith("token_")]
REPLAYED = [*AUTHORIZATION, *HEADERS, *TOKENS, "auth_45s_token_timeline"]


@pytest.mark.parametrize("name", AUTHORIZATION)
def test_token_is_treated_as_recorded(replayer: Replayer, name: str) -> None:
    recording, made = load(name), AUTHORIZATION[name]
    headers = {} if made is None else {"Authorization": f"{made[0]} {made[1](replayer.server)}"}

    response = requests.get(
        replayer.server.base_url + recording.request["path"],
        params=replayer.localise(recording.request["params"]),
        headers=headers,
        timeout=10,
    )

    if recording.response["status"] == 200:
        # What is listed is another test's affair.
        assert response.status_code == 200
        check_headers(recording.response, response)
    else:
        check_same_answer(replayer, recording, response)


def test_refused_token_stands_in_a_header_of_the_refusal(replayer: Replayer) -> None:
    token = replayer.server.mint_token(ttl=20)

    response = Replayer(replayer.server, token).call("GET", "/status/systems")

    assert response.headers["auth-token"] == token


def test_token_is_refused_long_before_it_expires(replayer: Replayer) -> None:
    recorded = load("auth_45s_token_timeline").content["timeline_s_status_message"]
    # 31 s of life: good at first, and within a good second too near its end.
    aging = Replayer(replayer.server, replayer.server.mint_token(ttl=32))
    expired = Replayer(replayer.server, replayer.server.mint_token(ttl=-1))
    path = "/filesystem/cluster/ops/ls"
    arguments = {"params": {"path": str(replayer.server.scratch)}}

    first = aging.call("GET", path, **arguments)
    aging.wait_until(lambda: aging.call("GET", path, **arguments).status_code == 401 or None, 5, "refusal")
    answers = [first, aging.call("GET", path, **arguments), expired.call("GET", path, **arguments)]

    assert [answer.status_code for answer in answers] == [row[1] for row in recorded]
    assert [answer.json()["message"] for answer in answers[1:]] == [row[2] for row in recorded[1:]]
    for replaying in (aging, expired):
        replaying.close()


@pytest.mark.parametrize("name", HEADERS)
def test_request_ids_are_treated_as_recorded(replayer: Replayer, name: str) -> None:
    recording = load(name)

    response = replayer.send(recording)

    assert response.status_code == recording.response["status"]
    check_headers(recording.response, response)
    if response.status_code == 400:
        assert response.content == b""
    else:
        for header in ("X-Request-ID", "X-Correlation-ID"):
            assert response.headers[header] == recording.response["headers"][header.lower()]


def test_answers_carry_ids_of_the_servers_own(replayer: Replayer) -> None:
    first, second = (replayer.call("GET", "/status/systems") for _ in range(2))

    ids = {
        answer.headers[name] for answer in (first, second) for name in ("x-request-id", "x-correlation-id")
    }
    assert len(ids) == 4
    assert all(uuid.UUID(value) for value in ids)


@pytest.mark.parametrize("name", TOKENS)
def test_token_endpoint_answers_as_recorded(replayer: Replayer, name: str) -> None:
    recording, server = load(name), replayer.server
    form = json.loads(recording.request["body_summary"].replace("'", '"'))
    if "client_secret" in form:
        form["client_secret"] = "wrong" if name == "token_bad_secret" else server.client_secret
    basic = (server.client_id, server.client_secret) if recording.request["auth"] == "basic" else None

    response = requests.post(server.token_url, data=form, auth=basic, timeout=10)

    assert response.status_code == recording.response["status"]
    check_same_json(response.json(), recording.response["json"])


def test_token_endpoint_refuses_a_wrong_secret_in_basic_authentication(replayer: Replayer) -> None:
    credentials = (replayer.server.client_id, "wrong")

    response = requests.post(
        replayer.server.token_url, data={"grant_type": "client_credentials"}, auth=credentials, timeout=10
    )

    assert response.status_code == 401


def test_token_endpoint_gives_tokens_of_the_set_life() -> None:
    with LocalFirecrest(token_ttl=40) as server:
        claims = jwt.decode(fetch_token(server), options={"verify_signature": False})

    assert claims["exp"] - claims["iat"] == 40
