"""A FirecREST on this machine, for the demo, for tests and for writing DAGs without a cluster.

    from airflow_provider_firecrest.local import LocalFirecrest

    with LocalFirecrest(cpus=4) as server:
        print(server.base_url)

Shares no protocol code with the client: with a common mistake the tests would see nothing.
"""

from __future__ import annotations

from airflow_provider_firecrest.local.handle import LocalFirecrest, LocalFirecrestError

__all__ = ["LocalFirecrest", "LocalFirecrestError"]
