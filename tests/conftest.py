"""Fixtures every test can use. A group of fixtures lives in a module of its own and is only imported here."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Airflow reads its home and its settings once, at import: they are fixed here, before a test can import it.
# What this machine's own Airflow is set up to do must neither help nor harm a test, nor be touched by one.
for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
    del os.environ[name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-provider-firecrest-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

from tests.fixtures_local import firecrest, firecrest_server  # noqa: E402

__all__ = ["firecrest", "firecrest_server"]
