"""The connection's CA bundle holds for the object store too, whatever the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from airflow_provider_firecrest.client.staging.options import StagingOptions
from airflow_provider_firecrest.client.staging.wire import Wire

from . import http_double
from .http_double import answer, serving


@pytest.mark.parametrize("other_bundle", [False, True], ids=["plain", "another bundle in the environment"])
def test_a_store_with_a_certificate_of_the_bundle_is_reached(
    other_bundle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, bundle = http_double.certificate(tmp_path)
    if other_bundle:
        (tmp_path / "other").mkdir()
        _, other = http_double.certificate(tmp_path / "other")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))

    with serving(context) as store:
        store.otherwise = answer(b"content")
        wire = Wire(StagingOptions(verify=str(bundle)))
        with wire.send("GET", store.url + "/object") as response:
            assert response.content == b"content"
        wire.close()


def test_a_store_nobody_vouches_for_is_not_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    context, _ = http_double.certificate(tmp_path)

    with serving(context) as store:
        wire = Wire(StagingOptions())
        with pytest.raises(requests.exceptions.SSLError):
            wire.send("GET", store.url + "/object")
        wire.close()
        assert store.asked == []
