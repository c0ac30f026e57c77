"""A connection in all its ways of being written, read into settings."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_firecrest.client.auth import ApiKey, ClientCredentials, StaticToken, TokenCommand
from airflow_provider_firecrest.client.errors import ConfigurationError, InvalidRequestError, UnavailableError
from airflow_provider_firecrest.get_provider_info import get_provider_info
from airflow_provider_firecrest.hooks import _clients
from airflow_provider_firecrest.hooks._settings import FIELDS
from airflow_provider_firecrest.hooks._task import job_ids_of
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook, settings_from_connection

EXTRA = {
    "auth_url": "https://auth.example.org/token",
    "system": "daint",
    "account": "proj01",
    "working_dir": "/scratch/me",
}


def connection(**fields: Any) -> Connection:
    extra = fields.pop("extra", EXTRA)
    defaults = {
        "conn_id": "hpc",
        "conn_type": "firecrest",
        "host": "https://api.example.org/hpc/firecrest/v2",
        "login": "my-id",
        "password": "s3cr3t",
    }
    return Connection(**{**defaults, **fields}, extra=json.dumps(extra))


def with_extra(**changes: Any) -> Connection:
    return connection(extra={**EXTRA, **changes})


WRITTEN = {
    "form": connection(),
    "json": Connection.from_json(
        json.dumps(
            {
                "conn_type": "firecrest",
                "host": "https://api.example.org/hpc/firecrest/v2",
                "login": "my-id",
                "password": "s3cr3t",
                "extra": EXTRA,
            }
        ),
        conn_id="hpc",
    ),
    "uri": Connection(
        conn_id="hpc",
        uri="firecrest://my-id:s3cr3t@api.example.org/hpc/firecrest/v2?auth_url=https%3A%2F%2Fauth.example.org"
        "%2Ftoken&system=daint&account=proj01&working_dir=%2Fscratch%2Fme",
    ),
    "uri made by Airflow": Connection(conn_id="hpc", uri=connection().get_uri()),
    "host without protocol": connection(host="api.example.org/hpc/firecrest/v2/"),
    "Airflow 2's form": connection(
        extra={f"extra__firecrest__{key}": value for key, value in {**EXTRA, "scope": ""}.items()}
    ),
}


@pytest.mark.parametrize("conn", WRITTEN.values(), ids=WRITTEN)
def test_every_way_of_writing_a_connection_means_the_same(conn: Connection) -> None:
    settings = settings_from_connection(conn)
    assert settings.base_url == "https://api.example.org/hpc/firecrest/v2"
    assert settings.auth == ClientCredentials("https://auth.example.org/token", "my-id", "s3cr3t")
    assert (settings.system, settings.account, settings.working_dir) == ("daint", "proj01", "/scratch/me")


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "api.example.org"}, "https://api.example.org"),
        ({"host": "api.example.org", "port": 8443}, "https://api.example.org:8443"),
        ({"host": "api.example.org", "schema": "http"}, "http://api.example.org"),
        ({"host": "api.example.org", "schema": "v2", "port": 80}, "https://api.example.org:80/v2"),
        ({"host": "http://localhost:8000/v2", "port": 9000}, "http://localhost:8000/v2"),
        ({"host": " http://localhost/v2/ "}, "http://localhost/v2"),
    ],
)
def test_the_base_url_is_put_together(fields: dict[str, Any], base_url: str) -> None:
    assert settings_from_connection(connection(**fields)).base_url == base_url


def test_a_uri_can_name_protocol_and_port() -> None:
    uri = "firecrest://http://my-id:s3cr3t@localhost:8000/v2?auth_url=http%3A%2F%2Flocalhost%3A8000%2Ftoken"
    settings = settings_from_connection(Connection(conn_id="hpc", uri=uri))
    assert settings.base_url == "http://localhost:8000/v2"


@pytest.mark.parametrize(
    ("extra", "auth"),
    [
        ({**EXTRA, "auth_method": "client_secret_basic", "scope": "x"}, ("basic", "x")),
        ({"access_token": "t0k3n"}, StaticToken("t0k3n")),
        ({"auth_command": "oidc-token hpc"}, TokenCommand("oidc-token hpc")),
        ({"api_key": "k3y"}, ApiKey("k3y")),
        ({"api_key": "k3y", "api_key_header": "X-Key"}, ApiKey("k3y", "X-Key")),
        ({**EXTRA, "access_token": "t0k3n", "auth_method": "static_token"}, StaticToken("t0k3n")),
    ],
)
def test_every_way_to_log_in(extra: dict[str, Any], auth: Any) -> None:
    if isinstance(auth, tuple):
        auth = ClientCredentials(EXTRA["auth_url"], "my-id", "s3cr3t", scope=auth[1], style=auth[0])
    assert settings_from_connection(connection(extra=extra)).auth == auth


@pytest.mark.parametrize("text", [True, False])
def test_options_are_understood_as_text_and_as_json(text: bool) -> None:
    options = {
        "timeout": 12.5,
        "max_requests_per_second": 3,
        "max_concurrent_requests": 2,
        "max_script_size": 8388608,
        "retry_budget": 60,
        "verify": False,
        "api_version": 2,
    }
    settings = settings_from_connection(
        with_extra(**({key: str(value) for key, value in options.items()} if text else options))
    )
    assert (settings.timeout, settings.max_requests_per_second, settings.retry_budget) == (12.5, 3.0, 60.0)
    assert (settings.max_concurrent_requests, settings.max_script_size) == (2, 8388608)
    assert settings.verify is False
    assert settings.api_version == "2"


@pytest.mark.parametrize("field", ["max_concurrent_requests", "max_script_size"])
@pytest.mark.parametrize("value", [1.5, "inf", "nan"])
def test_a_count_is_a_whole_number(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}: .* is not a whole number"):
        settings_from_connection(with_extra(**{field: value}))


def test_a_ca_bundle_is_what_to_verify_with() -> None:
    assert settings_from_connection(with_extra(ca_bundle="/etc/ca.pem")).verify == "/etc/ca.pem"
    assert settings_from_connection(with_extra(ca_bundle="/etc/ca.pem", verify=False)).verify is False


def test_an_extra_that_is_no_json_is_named() -> None:
    conn = Connection(conn_id="hpc", conn_type="firecrest", host="h", extra="{not json")
    with pytest.raises(ConfigurationError, match="extra: not valid JSON"):
        settings_from_connection(conn)


def test_no_secret_is_in_any_message_or_repr() -> None:
    for conn in (connection(host=None), with_extra(timeout="s3cr3t-free"), with_extra(auth_method="x")):
        with pytest.raises(ConfigurationError) as failure:
            settings_from_connection(conn)
        assert "s3cr3t" not in str(failure.value).replace("s3cr3t-free", "")
    assert "s3cr3t" not in repr(settings_from_connection(connection()))


def test_the_form_offers_fields_that_the_hook_reads() -> None:
    offered = get_provider_info()["connection-types"][0]["conn-fields"]
    assert set(offered) <= set(FIELDS)


def test_the_python_form_of_older_airflows_has_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    class Field:
        def __init__(self, label: str, **options: Any) -> None:
            self.label = label

    class Password(Field):
        pass

    forms = types.ModuleType("wtforms")
    forms.BooleanField = forms.StringField = Field  # type: ignore[attr-defined]
    forms.PasswordField = Password  # type: ignore[attr-defined]
    validators = types.ModuleType("wtforms.validators")
    validators.Optional = object  # type: ignore[attr-defined]
    builder = types.ModuleType("flask_appbuilder")
    widgets = types.ModuleType("flask_appbuilder.fieldwidgets")
    widgets.BS3PasswordFieldWidget = widgets.BS3TextFieldWidget = object  # type: ignore[attr-defined]
    for module in (forms, validators, builder, widgets):
        monkeypatch.setitem(sys.modules, module.__name__, module)

    fields = FirecrestHook.get_connection_form_widgets()
    assert set(fields) == set(get_provider_info()["connection-types"][0]["conn-fields"])
    assert {name for name, field in fields.items() if isinstance(field, Password)} == {
        "access_token",
        "api_key",
    }
    assert FirecrestHook.get_ui_field_behaviour()["relabeling"]["password"] == "Client secret"


class TestLookingUp:
    """Connections looked up by id, as hooks and triggers do."""

    @pytest.fixture(autouse=True)
    def defined(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_HPC", connection().as_json())

    def test_the_hook_looks_up_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = FirecrestHook("hpc")
        first = hook.settings
        monkeypatch.delenv("AIRFLOW_CONN_HPC")
        assert hook.settings is first
        assert hook.get_conn() is hook.get_conn() is hook.client
        hook.close()

    def test_the_secrets_are_masked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        masked: list[Any] = []
        monkeypatch.setattr("airflow.sdk.log.mask_secret", lambda value, name=None: masked.append(value))
        monkeypatch.setenv("AIRFLOW_CONN_HPC", with_extra(api_key="k3y-value").as_json())
        masked.clear()
        assert FirecrestHook("hpc").settings.system == "daint"
        assert {"s3cr3t", "k3y-value"} <= {value for value in masked if isinstance(value, str)}

    async def test_an_unknown_connection_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="There is no Airflow connection 'nowhere'"):
            await _clients.resolve("nowhere")

    async def test_a_failing_secrets_back_end_is_an_outage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(conn_id: str) -> None:
            raise OSError("vault: token hvs.s3cr3t refused")

        monkeypatch.setattr("airflow.providers.common.compat.connection.get_async_connection", broken)
        with pytest.raises(
            UnavailableError, match=r"could not look up connection 'hpc' \(OSError\)"
        ) as failure:
            await _clients.resolve("hpc")
        assert "hvs" not in str(failure.value)

    async def test_all_users_of_a_loop_share_a_client_looked_up_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lookups: list[str] = []
        resolve = _clients.resolve

        async def counted(conn_id: str) -> Any:
            lookups.append(conn_id)
            await asyncio.sleep(0.01)
            return await resolve(conn_id)

        monkeypatch.setattr(_clients, "resolve", counted)

        async def use() -> int:
            async with _clients.shared_client("hpc") as shared:
                client = await shared.get()
                await asyncio.sleep(0.05)
                return id(client)

        assert len(set(await asyncio.gather(*(use() for _ in range(50))))) == 1
        assert lookups == ["hpc"]

    async def test_a_changed_connection_gives_a_new_client_to_the_next_question(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with _clients.shared_client("hpc") as shared:
            first = await shared.get()
            shared.distrust()
            assert await shared.get() is first, "nothing has changed"
            monkeypatch.setenv("AIRFLOW_CONN_HPC", connection(password="n3w").as_json())
            shared.distrust()
            assert await shared.get() is not first

    async def test_a_connection_being_edited_does_not_stop_who_has_a_client(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with _clients.shared_client("hpc") as shared:
            first = await shared.get()
            monkeypatch.delenv("AIRFLOW_CONN_HPC")
            shared.distrust()
            assert await shared.get() is first


@pytest.mark.parametrize(
    "value",
    ["1,2", ["1", 2], "['1', '2']", '["1", "2"]', " [1, 2]", (1, " 2 "), iter(["1", "2"])],
    ids=range(7),
)
def test_job_ids_are_taken_as_templates_leave_them(value: Any) -> None:
    assert job_ids_of(value) == ["1", "2"]


@pytest.mark.parametrize(
    "value", [12.0, "12.0", [12.0], "[12.0]", [True], {"job_id": "12"}, "[1, 2", "[one, two]"], ids=str
)
def test_what_is_no_job_id_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^job_id: .+ (is no job id|cannot be read as a list)"):
        job_ids_of(value)
    with pytest.raises(InvalidRequestError, match=r"^job_id: empty"):
        job_ids_of([] if isinstance(value, list) else None)


def test_testing_a_connection_that_does_not_exist_says_so() -> None:
    works, message = FirecrestHook("nowhere").test_connection()
    assert not works
    assert "nowhere" in message
    assert "\n" not in message
