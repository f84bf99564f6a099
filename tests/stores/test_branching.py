"""Random programs of branching: every store answers as a model of plain lists does.

`test_model` holds the stores to the one in memory, byte for byte, in everything. This holds all
four to the rules of editions and snapshots.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from angzarr.ports.event_store import Limits
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.testing.clock import ManualClock

from ..rpc.served_stores import loop_thread, open_served
from .branching_machine import Branching
from .test_model import require

PROGRAMS = {"memory": 120, "rocksdict": 95, "rocksdb": 100, "grpc": 20}
"""How many each store is given; `grpc` is rocksdb behind a server, where a call takes longer."""
STEPS_PER_PROGRAM = 50
STEPS_MIN = 10_000
"""In all; less is no test of all that can meet."""
SHARE_MIN = 0.6
"""Of the steps that programs may have: some end early."""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.spec("EDN-1", "EDN-3", "EDN-4", "EDN-5", "EDN-6", "EDN-7", "EDN-8", "EDN-9", "EDN-10")
@pytest.mark.spec("EDN-14", "EDN-15", "EDN-17", "EDN-19", "EDN-20", "EDN-21", "EDN-22", "EDN-23")
@pytest.mark.spec("EDN-24", "EDN-25", "QRY-16", "SNAP-6", "SNAP-8", "SNAP-10")
@pytest.mark.timeout(600)  # half a minute; to make a failing program small takes five
@pytest.mark.parametrize("backend", PROGRAMS)
def test_a_store_answers_as_the_model(backend: str, runner: asyncio.Runner) -> None:
    require(backend)
    with contextlib.ExitStack() as stack:
        thread = stack.enter_context(loop_thread()) if backend == "grpc" else None

        def opened(folder: Path, clock: ManualClock) -> Stores:
            if backend == "memory":
                return open_stores("memory://", clock=clock)
            if thread:
                url = f"rocksdb://{folder}/store"
                return open_served(thread, url, sync=False, limits=Limits(), clock=clock)
            return open_stores(f"{backend}://{folder}/store", sync=False, clock=clock)

        machine = type(
            f"Branching_{backend}",
            (Branching,),
            {
                "opened": staticmethod(opened),
                "runner": runner,
                "is_durable": backend != "memory",
                "step_count": 0,
            },
        )
        run_state_machine_as_test(
            machine,
            settings=settings(
                deadline=None,
                max_examples=PROGRAMS[backend],
                stateful_step_count=STEPS_PER_PROGRAM,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )

    assert machine.step_count >= SHARE_MIN * PROGRAMS[backend] * STEPS_PER_PROGRAM


def test_the_programs_have_ten_thousand_steps() -> None:
    assert sum(PROGRAMS.values()) * STEPS_PER_PROGRAM * SHARE_MIN >= STEPS_MIN
