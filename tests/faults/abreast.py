"""Campaigns of all kinds, and several of them at a time.

A campaign waits most of its time; but faults are in force for a whole server, so that each campaign needs one
to itself while it goes on. Must not know what a campaign does.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from airflow_provider_firecrest.local import LocalFirecrest
from tests.faults.campaign import SERVER, Site, run_campaign
from tests.faults.fileops import FILEOP_SCENARIOS, FileopScenario, run_fileop_campaign
from tests.faults.judge import Findings
from tests.faults.miniature import Lane
from tests.faults.scenarios import JOB_SCENARIOS, Scenario
from tests.faults.transfer_scenarios import TRANSFER_SCENARIOS, TransferScenario
from tests.faults.transfers import run_transfer_campaign

SCENARIOS: tuple[Scenario, ...] = (*JOB_SCENARIOS, *TRANSFER_SCENARIOS, *FILEOP_SCENARIOS)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

# What would show duplicates if nothing prevented them.
UNGUARDED: Mapping[str, Any] = {"fence": False, "reattach": "never"}


@dataclass(frozen=True)
class Case:
    """A campaign to run.

    :ivar unguarded: with the safeguards switched off.
    """

    name: str
    generation: int
    runs: int
    seed: int
    unguarded: bool = False

    @property
    def scenario(self) -> Scenario:
        return BY_NAME[self.name]

    def run(self, server: LocalFirecrest, folder: Path, lane: Lane) -> Findings:
        """Run it on a server that nobody else uses meanwhile."""
        site, scenario = Site(server, self.generation, folder), self.scenario
        if isinstance(scenario, TransferScenario):
            return run_transfer_campaign(site, scenario, runs=self.runs, lane=lane, seed=self.seed)
        if isinstance(scenario, FileopScenario):
            return run_fileop_campaign(site, scenario, runs=self.runs, lane=lane, seed=self.seed)
        arguments = UNGUARDED if self.unguarded else {}
        return run_campaign(site, scenario, runs=self.runs, lane=lane, seed=self.seed, arguments=arguments)


class Campaigns:
    """Runs campaigns on some servers, each as soon as one is free. A context manager.

    :param folder: for what they keep on disk.
    :param servers: campaigns at a time.
    """

    def __init__(self, folder: Path, lane: Lane, servers: int) -> None:
        self._folder, self._lane = folder, lane
        self._stack = ExitStack()
        self._threads = ThreadPoolExecutor(servers)
        self._free: queue.SimpleQueue[LocalFirecrest | None] = queue.SimpleQueue()
        for _ in range(servers):
            self._free.put(None)
        self._begun: dict[Case, Future[Findings]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._stack.close()

    def begin(self, case: Case) -> None:
        """Run a campaign beside the others, when its turn comes."""
        self._begun[case] = self._threads.submit(self._run, case)

    def findings(self, case: Case) -> Findings:
        """What a campaign has found, once it is over."""
        return self._begun[case].result()

    def _run(self, case: Case) -> Findings:
        server = self._free.get()
        try:
            if server is None:
                server = self._stack.enter_context(LocalFirecrest(**SERVER))
            if case.scenario.server:
                with LocalFirecrest(**{**SERVER, **case.scenario.server}) as special:
                    return case.run(special, self._folder, self._lane)
            return case.run(server, self._folder, self._lane)
        finally:
            self._free.put(server)
