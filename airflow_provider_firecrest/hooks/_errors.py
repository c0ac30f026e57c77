"""The client's errors as Airflow understands them: retry, or do not.

Must not send anything. Client classes are looked up when an error is there, not when a DAG file is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client.errors import FirecrestError


def is_refusal(error: FirecrestError) -> bool:
    """Return True when the same request will be refused again: a retry of the task would change nothing."""
    from ..client import errors

    return isinstance(
        error,
        errors.ConfigurationError
        | errors.AuthenticationError
        | errors.PermissionDeniedError
        | errors.NotFoundError
        | errors.InvalidRequestError
        | errors.ConflictError
        | errors.TooLargeError,
    )


def to_airflow(error: FirecrestError) -> Exception:
    """Return the exception a task raises for ``error``:

    with Airflow's retries, or without where they are pointless.
    """
    from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

    found: Exception = (AirflowFailException if is_refusal(error) else AirflowException)(str(error))
    return found


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn what the client raises inside into Airflow's exceptions.

    The original is not chained: one line says what happened, and transport exceptions below it can hold URLs.
    """
    from ..client.errors import FirecrestError

    try:
        yield
    except FirecrestError as error:
        raise to_airflow(error) from None
