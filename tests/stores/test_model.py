"""Random programs: every backend answers each call as the store in memory does, byte for byte."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from angzarr.errors import AngzarrError, StoreUnavailable
from angzarr.ports.event_store import Limits
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.sync_bridge import LoopThread
from angzarr.testing.clock import ManualClock

from ..rpc.served_stores import loop_thread, open_served
from .model_steps import Ask, Step, World, programs, sweep

BACKENDS = {"rocksdict": 60, "rocksdb": 60, "grpc": 20}
"""How many programs each is given; `grpc` is rocksdb behind a server, where a call takes longer."""
REQUIRED = "ANGZARR_REQUIRE_BACKENDS"
"""Set where all backends have to be there, as `make test` does."""
LIMITS = Limits(max_pages_per_append=4, max_append_bytes=2_000)


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    with loop_thread() as thread:
        yield thread


@pytest.mark.spec("STO-60", "STO-61", "STO-3", "STO-10", "STO-12", "STO-14")
@pytest.mark.spec("EDN-3", "EDN-6", "EDN-8", "CAS-9", "CAS-11", "CAS-14", "SNAP-6", "SNAP-8")
@pytest.mark.timeout(120)  # a few seconds alone, more on a busy machine
@pytest.mark.spec("DEP-11", "DEP-12", "STO-30")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_answers_as_the_store_in_memory(backend: str, thread: LoopThread) -> None:
    require(backend)

    def opened(directory: str, clock: ManualClock) -> Stores:
        options: dict[str, Any] = {"sync": False, "limits": LIMITS, "clock": clock}
        if backend == "grpc":
            return open_served(thread, f"rocksdb://{directory}/store", **options)
        return open_stores(f"{backend}://{directory}/store", **options)

    @settings(
        deadline=None,
        max_examples=BACKENDS[backend],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(programs())
    def agree(program: list[Step]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(compare(partial(opened, directory), program))

    agree()


def require(backend: str) -> None:
    """Skip without the backend's package, or fail where it is required."""
    try:
        importlib.import_module("rocksdict" if backend == "rocksdict" else "angzarr._native")
    except ImportError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"{backend} is not here: {error}")


async def compare(open_at: Callable[[ManualClock], Stores], program: list[Step]) -> None:
    """Run the program on an empty store and on one in memory; compare every answer."""
    clock = ManualClock()
    world = World(open_stores("memory://", limits=LIMITS, clock=clock), clock)
    stores = open_at(clock)
    try:
        for step in program:
            if step.name == "reopen":
                await stores.close()
                clock.advance(1_000)  # leases of obligations may end with the process
                stores = open_at(clock)
                continue
            await agree_on(step, await step.prepare(world), world.oracle, stores)
        for number, ask in enumerate(sweep()):
            await agree_on(Step("sweep", (number,)), ask, world.oracle, stores)
    finally:
        await stores.close()


async def agree_on(step: Step, ask: Ask, oracle: Stores, stores: Stores) -> None:
    wanted, found = await answer(ask, oracle), await answer(ask, stores)
    assert found == wanted, f"{step}: found {found}, wanted {wanted}"


async def answer(ask: Ask, stores: Stores) -> Any:
    """What the call gives: its value, or class and fields of its error."""
    try:
        value = await ask(stores)
    except StoreUnavailable:
        raise
    except AngzarrError as error:
        return type(error).__name__, vars(error)
    return [plain(item) for item in value] if isinstance(value, list) else plain(value)


def plain(value: Any) -> Any:
    """Dataclasses as tuples, so that a difference shows its bytes."""
    is_data = dataclasses.is_dataclass(value)
    return (type(value).__name__, dataclasses.astuple(value)) if is_data else value
