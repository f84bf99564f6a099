"""Random programs: an overlay goes on as its base would have, whatever that does meanwhile."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.stores.overlay import lay_over
from angzarr.testing.clock import ManualClock

from .model_steps import (
    COVERS,
    Appending,
    Ask,
    Step,
    World,
    appendings,
    covers,
    programs,
    sweep_stream,
)
from .test_model import LIMITS, agree_on, answer

OTHERS = {"put_position", "put_cursor", "cursor", "reset", "lease"}
"""Positions are the overlay's own: its consumers begin where the base's log ended."""


def plain(given: Appending) -> Appending:
    """Without a cascade, whose pages an overlay leaves out, and with pages, as keys without any
    have no time."""
    count = max(given.count, 1)
    return replace(given, cascade_id="", count=count, fault="", duties=())


appends = st.builds(Step, st.just("append"), st.tuples(covers, appendings.map(plain)))
snapshots = programs().map(lambda made: [step for step in made if step.name == "put_snapshot"][:2])
pasts = st.lists(appends, max_size=25)


@pytest.mark.spec("SPEC-6")
@pytest.mark.timeout(120)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(pasts, snapshots, pasts, programs())
def test_an_overlay_answers_as_a_store_with_the_same_past(
    past: list[Step], kept: list[Step], meanwhile: list[Step], program: list[Step]
) -> None:
    asyncio.run(compare(past + kept, meanwhile, program))


async def compare(past: list[Step], meanwhile: list[Step], program: list[Step]) -> None:
    """The past happens to a base and to the oracle; then the base goes its own way, and the program
    is run on the overlay and on the oracle."""
    clock = ManualClock()
    oracle, base = (open_stores("memory://", limits=LIMITS, clock=clock) for _ in range(2))
    world = World(oracle, clock)
    for step in past:
        await agree_on(step, await step.prepare(world), oracle, base)
    overlay = await lay_over(base, clock=clock, limits=LIMITS)
    for step in meanwhile:
        await answer(await without_snapshot(step).prepare(World(base, clock)), base)
    traces = await traced(base)

    for step in program:
        if step.name not in OTHERS:
            await agree_on(step, await step.prepare(world), oracle, overlay)
    for number, ask in enumerate(questions()):
        await agree_on(Step("sweep", (number,)), ask, oracle, overlay)

    assert await traced(base) == traces


async def whole_scan(stores: Stores) -> list[tuple[Any, ...]]:
    """All rows, scan by scan."""
    rows: list[tuple[Any, ...]] = []
    after = 0
    while (found := await stores.events.scan(after, limit=7)).last > after:
        after = found.last
        domains, editions = unpack("I", found.domains), unpack("I", found.editions)
        rows += zip(
            unpack("Q", found.positions),
            unpack("I", found.sequences),
            unpack("q", found.times),
            [found.domain_names[code] for code in domains],
            [found.edition_names[code] for code in editions],
            [found.roots[n * 16 : n * 16 + 16] for n in range(found.count)],
            strict=True,
        )
    return rows


def unpack(kind: str, data: bytes) -> list[int]:
    return [number for (number,) in struct.iter_unpack(f"<{kind}", data)]


def without_snapshot(step: Step) -> Step:
    """Retention would remove what the overlay may still have wanted."""
    cover, given = step.drawn
    return Step(step.name, (cover, replace(given, snapshot=None)))


async def traced(base: Stores) -> list[Any]:
    return [await answer(ask, base) for ask in questions()]


def questions() -> Iterator[Ask]:
    """What both sides can be asked."""
    for cover in COVERS:
        yield from sweep_stream(cover)
    for domain in ("account", "order"):
        yield lambda s, d=domain: s.events.editions(d)
        yield lambda s, d=domain: s.events.roots(d)
        yield lambda s, d=domain: s.events.roots(d, "left")
        yield lambda s, d=domain: s.editions.branches(d, "left")
    yield lambda s: s.events.domains()
    for correlation_id in ("corr-1", "corr-2"):
        yield lambda s, c=correlation_id: s.events.by_correlation(c)
        yield lambda s, c=correlation_id: s.events.by_correlation(c, edition="left")
    yield lambda s: s.events.tail(0, limit=1_000)
    yield whole_scan
    yield lambda s: s.events.log_head()
    yield lambda s: s.obligations.due(2**62, limit=100, lease_s=0)
    yield lambda s: s.dead_letters.list()
    yield lambda s: s.editions.list()
    yield lambda s: s.editions.usage("left")
