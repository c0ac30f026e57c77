"""The connection test walks hop by hop and names the one that fails, in one line without a secret."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import (
    ClientCredentials,
    FirecrestClient,
    Settings,
    StaticToken,
    detect,
    rate,
    tokens,
)
from airflow_provider_firecrest.client import auth as auth_module
from airflow_provider_firecrest.client.auth import TokenCommand
from airflow_provider_firecrest.client.health import check_connection

from . import http_double
from .http_double import HttpDouble, answer, serving
from .recorded import load

SECRET = "s3cr3t-0123456789"


@pytest.fixture(autouse=True)
def _nothing_left_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in [(tokens, "_caches"), (rate, "_pacers"), (detect, "_found")]:
        monkeypatch.setattr(module, name, {})
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def recorded(name: str) -> http_double.Answer:
    response = load(name)["response"]
    return answer(response["json"], response["status"])


@pytest.fixture
def site() -> Iterator[HttpDouble]:
    """Token server and FirecREST of a healthy site."""
    with serving() as double:
        double.routes = {
            "/token": answer({"access_token": "t0ken", "expires_in": 300}),
            "/status/systems": recorded("status_systems"),
            "/status/cluster/userinfo": recorded("status_userinfo"),
        }
        double.otherwise = answer({"errorType": "error", "message": "Not Found"}, 404)
        yield double


def check(site: HttpDouble, *, within: float | None = None, **changes: Any) -> tuple[bool, str]:
    values: dict[str, Any] = {
        "base_url": site.url,
        "auth": ClientCredentials(f"{site.url}/token", "me", SECRET),
        "system": "cluster",
        "timeout": 2.0,
        "retry_budget": 0.0,
    }
    with FirecrestClient(Settings(**{**values, **changes})) as client:
        well, told = check_connection(client, within=within)
    assert SECRET not in told
    assert "t0ken" not in told
    assert "\n" not in told.strip()
    return well, told


def test_a_healthy_site_is_told_with_system_and_user(site: HttpDouble) -> None:
    well, told = check(site)

    assert well
    assert "cluster" in told
    assert "fireuser" in told


def test_without_a_system_those_there_are_are_told(site: HttpDouble) -> None:
    well, told = check(site, system=None)

    assert well
    assert "cluster, cluster-streamer" in told


def test_nothing_is_changed_by_it(site: HttpDouble) -> None:
    check(site)

    assert {path for path in site.paths() if not path.startswith("GET ")} == {"POST /token"}


def test_a_wrong_secret_is_a_failed_login(site: HttpDouble) -> None:
    site.routes["/token"] = recorded("token_bad_secret")

    well, told = check(site)

    assert not well
    assert told.startswith("Login failed: ")
    assert "Invalid client or Invalid client credentials" in told


def test_a_wrong_auth_url_is_a_failed_login_that_names_the_field(site: HttpDouble) -> None:
    well, told = check(site, auth=ClientCredentials(f"{site.url}/realms/x", "me", SECRET))

    assert not well
    assert told.startswith("Login failed: ")
    assert "auth_url" in told


@pytest.mark.parametrize("status", [500, 503])
def test_a_token_server_that_is_down_is_named(status: int, site: HttpDouble) -> None:
    site.routes["/token"] = answer({}, status)

    well, told = check(site)

    assert not well
    assert told.startswith("Token server failed: ")


def test_a_token_server_that_is_not_there_is_named(site: HttpDouble) -> None:
    nowhere = f"http://127.0.0.1:{http_double.refused_port()}/token"

    well, told = check(site, auth=ClientCredentials(nowhere, "me", SECRET))

    assert not well
    assert told.startswith("Token server failed: ")
    assert "auth_url" in told
    assert nowhere.split("/")[2] in told


def test_a_token_command_that_hangs_is_named(site: HttpDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_module, "_COMMAND_TIMEOUT", 0.2)
    well, told = check(site, auth=TokenCommand("sleep 30"))

    assert not well
    assert told.startswith("Token command failed: auth_command did not finish within")


def test_an_address_without_its_path_is_told_what_an_address_looks_like(site: HttpDouble) -> None:
    site.routes["/status/systems"] = answer({"detail": "Not Found"}, 404)

    well, told = check(site)

    assert not well
    assert told.startswith(f"API failed: host: what answers at {site.url} is neither")
    assert "with its path, such as https://" in told


def test_an_expired_token_is_a_failed_login_that_says_what_to_do(site: HttpDouble) -> None:
    site.routes["/status/systems"] = recorded("auth_expired")

    well, told = check(site, auth=StaticToken(SECRET))

    assert not well
    assert told.startswith("Login failed: ")
    assert "put a new one into it" in told


def test_an_api_that_is_not_there_is_named(site: HttpDouble) -> None:
    well, told = check(site, base_url=f"http://127.0.0.1:{http_double.refused_port()}")

    assert not well
    assert told.startswith("API failed: ")


@pytest.mark.parametrize("version", ["auto", "2"])
@pytest.mark.parametrize("page", [http_double.page(), http_double.page(status=404), answer({"hello": 1})])
def test_something_else_at_the_address_is_named_with_it(
    page: http_double.Answer, version: str, site: HttpDouble
) -> None:
    site.routes["/status/systems"] = page

    well, told = check(site, api_version=version)

    assert not well
    assert told.startswith("API failed: ")
    assert site.url in told


def test_a_certificate_that_is_not_accepted_is_named(tmp_path: Path) -> None:
    context: ssl.SSLContext
    context, _ = http_double.certificate(tmp_path)
    with serving(context) as site:
        well, told = check(site, auth=StaticToken(SECRET))

    assert not well
    assert told.startswith("host: ")
    assert "certificate" in told


def test_a_wrong_system_is_told_with_those_there_are(site: HttpDouble) -> None:
    well, told = check(site, system="daint")

    assert not well
    assert told.startswith("System failed: ")
    assert "'daint'" in told
    assert "cluster, cluster-streamer" in told


@pytest.mark.parametrize(
    ("name", "hop"),
    [
        ("down_ssh_after_healthcheck_systems", "of cluster failed"),
        ("down_slurmctld_systems", "of cluster failed"),
        ("down_oidc_systems", "of cluster failed"),
    ],
)
def test_a_sick_service_is_named(name: str, hop: str, site: HttpDouble) -> None:
    site.routes["/status/systems"] = recorded(name)
    healthy = all(
        each["healthy"] for each in load(name)["response"]["json"]["systems"][0]["servicesHealth"] or []
    )

    well, told = check(site)

    assert well == healthy
    assert (hop in told) == (not healthy)


def test_a_user_the_system_does_not_know_is_told(site: HttpDouble) -> None:
    site.routes["/status/cluster/userinfo"] = recorded("auth_user_without_ssh_key")

    well, told = check(site)

    assert not well
    assert told.startswith("User failed: ")


def test_a_site_whose_every_answer_is_slow_is_told_so_in_time(site: HttpDouble) -> None:
    site.routes["/status/systems"] = answer(load("status_systems")["response"]["json"], after=0.3)
    site.routes["/status/cluster/userinfo"] = http_double.silence()

    well, told = check(site, within=1.0, timeout=20.0)

    assert not well
    assert told == (
        f"Too slow: after 1 s {site.url} was still being asked for its user. Every answer so far was good."
    )


def test_a_server_that_does_not_answer_is_told_within_ten_seconds(site: HttpDouble) -> None:
    site.routes["/status/systems"] = http_double.silence()
    began = time.monotonic()

    well, told = check(site)

    assert not well
    assert told.startswith("API failed: ")
    assert time.monotonic() - began < 10
