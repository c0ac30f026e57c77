"""POST forms for the object store: a policy, its signature, and the check of both.

Knows: S3's rules for posts from a form. Must not know: how a form travels, FirecREST.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_firecrest.local.object_store import StoreError
from airflow_provider_firecrest.local.presign import Presigner

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# Fields the policy need not mention.
_UNLISTED = ("policy", "x-amz-signature", "file")


def signed_fields(presigner: Presigner, bucket: str, key: str, ttl: int) -> dict[str, str]:
    """Fields of a form that allows one object to be posted within ``ttl`` seconds."""
    now = datetime.now(UTC)
    signing = presigner.form_fields(now)
    conditions: list[dict[str, str]] = [{"bucket": bucket}, {"key": key}]
    conditions += [{name: value} for name, value in signing.items()]
    expiration = (now + timedelta(seconds=ttl)).strftime(_TIME_FORMAT)
    policy = base64.b64encode(
        json.dumps({"expiration": expiration, "conditions": conditions}).encode()
    ).decode()
    signature = presigner.sign_policy(signing["x-amz-date"], policy)
    return {"key": key, **signing, "policy": policy, "x-amz-signature": signature}


def check_fields(presigner: Presigner, bucket: str, fields: Mapping[str, str]) -> str:
    """The key a form may be posted to; ``fields`` are those in front of the file.

    Raises:
        StoreError: unsigned or forged, expired, a field that is not as the policy says, or one it knows not.
    """
    policy, given = fields.get("policy"), fields.get("x-amz-signature", "")
    if policy is None:
        raise _denied("Access Denied")
    expected = presigner.sign_policy(fields.get("x-amz-date", ""), policy)
    if not hmac.compare_digest(expected, given):
        text = "The request signature we calculated does not match the signature you provided."
        raise StoreError(403, "SignatureDoesNotMatch", f"{text} Check your key and signing method.")
    rules = _read(policy)
    if datetime.now(UTC) > datetime.strptime(rules["expiration"], _TIME_FORMAT).replace(tzinfo=UTC):
        raise _invalid("Policy expired.")
    wanted = {name: value for condition in rules["conditions"] for name, value in condition.items()}
    actual = {**fields, "bucket": bucket}
    for name, value in wanted.items():
        if actual.get(name) != value:
            raise _invalid(f'Policy Condition failed: ["eq", "${name}", "{value}"]')
    extra = [name for name in fields if name not in wanted and name not in _UNLISTED]
    if extra:
        raise _invalid(f"Extra input fields: {', '.join(extra)}")
    return str(wanted["key"])


def _read(policy: str) -> Any:
    try:
        return json.loads(base64.b64decode(policy, validate=True))
    except (binascii.Error, ValueError):
        raise StoreError(400, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON.") from None


def _invalid(text: str) -> StoreError:
    return _denied(f"Invalid according to Policy: {text}")


def _denied(text: str) -> StoreError:
    return StoreError(403, "AccessDenied", text)
