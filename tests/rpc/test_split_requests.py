"""SIMPLE and CASCADE requests with projectors and reactions in a process of their own: the claims
about one process, once more (DEP-12).
"""

# ruff: noqa: F403

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from angzarr.errors import CommandRejected

from ..coordinators.test_synchronous import *
from ..coordinators.test_synchronous import ORDERS, SIMPLE
from .splitting import SplitWorld

pytestmark = pytest.mark.spec("DEP-12", "SYNC-11")


@pytest.fixture
async def world() -> AsyncIterator[SplitWorld]:
    made = SplitWorld()
    await made.start()
    yield made
    await made.close()


@pytest.mark.spec("SYNC-4")
async def test_the_callers_deadline_is_passed_down(world: SplitWorld) -> None:
    """As far as a wire can tell it: what is left, and not when."""
    saga, projector = world.saga(), world.projector()
    deadline_ns = time.monotonic_ns() + 10**10

    await world.send(deadline_ns=deadline_ns)

    for context in (saga.flows[0].context, projector.contexts[0]):
        assert context.deadline_ns is not None
        assert abs(context.deadline_ns - deadline_ns) < 10**9


@pytest.mark.spec("PROJ-16")
async def test_a_refused_command_gives_the_turn_back(world: SplitWorld) -> None:
    projector = world.projector()
    world.refused["no"] = CommandRejected("no")

    with pytest.raises(CommandRejected):
        await world.send("no", mode=SIMPLE)

    async with world.turns.alone(projector.consumer, ORDERS):
        pass
