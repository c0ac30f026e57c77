"""Files of every size that matters and every name that can be carried, there and back, over both generations.

What comes back is compared with what was sent; the file in between is looked at on the system's own disk.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, run_task
from tests.odd_names import ODD_NAMES

PART = 8 * 1024 * 1024
"""Bytes per part of the test's server."""

BOTH = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])

# Every name of the recorded tables, and some more that a user may have.
NAMES = ["plain.dat", *ODD_NAMES, "n" * 200]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.transfers.proof.APPEAR_WITHIN", 0.5)


def there_and_back(
    firecrest: FirecrestForTest, tmp_path: Path, content: bytes, name: str, **arguments: Any
) -> list[dict[str, Any]]:
    """Upload a file under a name and download it again; the results."""
    source, back, middle = tmp_path / "source", tmp_path / "back", firecrest.directory / name
    source.write_bytes(content)
    common = {"task_id": "simulate", "poll_interval": 0.2, "deferrable": False, **arguments}
    results = []
    for kind, start, end in (
        (FirecrestUploadOperator, source, middle),
        (FirecrestDownloadOperator, middle, back),
    ):
        move = kind(source_path=str(start), target_path=str(end), **common)
        results.append(run_task(lambda move=move: move, TaskInstance()).result)  # type: ignore[misc]
        assert digest(end) == hashlib.sha256(content).hexdigest() == results[-1]["sha256"]
    return results


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


@BOTH
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1])
def test_a_file_of_any_size_comes_back_as_it_went(
    firecrest: FirecrestForTest, tmp_path: Path, size: int, overwrite: bool
) -> None:
    arguments: dict[str, Any] = {}
    if overwrite:
        # Longer than what replaces it: no byte of it may stay.
        (firecrest.directory / "data.bin").write_bytes(b"old" * (PART // 2))
        (tmp_path / "back").write_bytes(b"old" * (PART // 2))
        arguments["if_exists"] = "overwrite"

    results = there_and_back(
        firecrest, tmp_path, random.Random(size).randbytes(size), "data.bin", **arguments
    )

    assert [each["size"] for each in results] == [size, size]
    assert names(firecrest.directory) == ["data.bin"]
    assert names(tmp_path) == ["back", "source"]


# What either generation cannot carry both ways, by what is known of the real servers: v1 forbids a dozen
# characters; what takes a job there cannot bear blanks and `$`. v2's transfer jobs hand a name to a shell.
NOT_BY_V1 = {
    "quo'te.txt",
    'dq"uote.txt',
    "$(touch executed).txt",
    "`touch executed`.txt",
    "a&b.txt",
    "a<b>.txt",
    "semi;colon.txt",
    "back\\slash.txt",
    "new\nline.txt",
    "tab\tx.txt",
    "pi|pe.txt",
    "(paren).txt",
}
NOT_BY_V2 = {"quo'te.txt", 'dq"uote.txt', "new\nline.txt", "tab\tx.txt"}
REFUSED = {
    (1, "direct"): NOT_BY_V1,
    (1, "staged"): NOT_BY_V1 | {"sp ace.txt", "a+b,c=d@e:f.txt", "${HOME}.txt", "trail "},
    (2, "direct"): NOT_BY_V2,
    (2, "staged"): set(NAMES)
    - {"plain.dat", "ünï-日本.txt", "-dash.txt", "st*r.txt", "#h.txt", "p%25.txt", "%j-%x.txt"}
    - {"a+b,c=d@e:f.txt", ".hidden", "n" * 200},
}
SIZES = {"direct": 100, "staged": PART + 1}

CASES = [
    pytest.param(generation, way, name, id=f"v{generation}-{way}-{name}")
    for generation, way in REFUSED
    for name in NAMES
    # What v2's staged way refuses is tested direction by direction, with the transfers of the client.
    if (generation, way) != (2, "staged") or name not in REFUSED[generation, way]
]


@pytest.mark.parametrize(("firecrest", "way", "name"), CASES, indirect=["firecrest"])
def test_a_file_of_any_name_comes_back_as_it_went_or_is_refused_before_it_goes(
    firecrest: FirecrestForTest, tmp_path: Path, name: str, way: str
) -> None:
    """Never as another file, and never with something executed."""
    content = random.Random(name).randbytes(SIZES[way])

    if name in REFUSED[firecrest.generation, way]:
        with pytest.raises(AirflowFailException, match="_path: "):
            there_and_back(firecrest, tmp_path, content, name)
        # What can go there and cannot come back stays there, whole.
        assert [digest(path) for path in firecrest.directory.iterdir()] in (
            [],
            [hashlib.sha256(content).hexdigest()],
        )
        assert names(tmp_path) == ["source"]
    else:
        results = there_and_back(firecrest, tmp_path, content, name)
        assert [each["way"] for each in results] == [way, way]
        assert names(firecrest.directory) == [name]
        assert names(tmp_path) == ["back", "source"]
    assert not [path for path in firecrest.directory.parent.rglob("executed")]
