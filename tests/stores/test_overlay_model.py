"""Random programs: an overlay goes on as its base would have, whatever that does meanwhile."""

from __future__ import annotations

import asyncio
import tempfile
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
from angzarr.testing.columns import rows_of

from .model_steps import (
    COVERS,
    EDITIONS,
    FAMILY,
    FIELDS,
    Appending,
    Ask,
    Step,
    World,
    appendings,
    covers,
    programs,
    step,
    sweep_stream,
)
from .test_model import LIMITS, agree_on, answer, require

OTHERS = {"put_position", "put_cursor", "cursor", "reset", "lease", "scan"}
"""Positions are the overlay's own: its consumers begin where the base's log ended. A scan may end
there, too."""

NESTED = ("kid", "grandkid")
LOAD_LATEST = 2
"""In a sweep of a stream. Of what was inherited over several levels no port tells whose it is, so
that an overlay may read it without a snapshot that the oracle uses."""


def plain(given: Appending) -> Appending:
    """Without a cascade, whose pages an overlay leaves out, and with pages, as keys without any
    have no time."""
    count = max(given.count, 1)
    return replace(given, cascade_id="", count=count, fault="", duties=())


appends = st.builds(Step, st.just("append"), st.tuples(covers, appendings.map(plain)))
snapshots = st.lists(step("put_snapshot"), max_size=2)
pasts = st.lists(appends, max_size=25)
families = st.sampled_from([FAMILY, FAMILY[:1], []])


BASES = {"memory": 50, "rocksdict": 15, "rocksdb": 25}
"""How many programs each is given."""


@pytest.mark.spec("SPEC-6")
@pytest.mark.timeout(120)  # a few seconds alone, more on a busy machine
@pytest.mark.parametrize("backend", BASES)
def test_an_overlay_answers_as_a_store_with_the_same_past(backend: str) -> None:
    if backend != "memory":
        require(backend)

    @settings(
        deadline=None,
        max_examples=BASES[backend],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(families, pasts, snapshots, pasts, programs())
    def agree(
        family: list[Step],
        past: list[Step],
        kept: list[Step],
        meanwhile: list[Step],
        program: list[Step],
    ) -> None:
        with tempfile.TemporaryDirectory() as directory:
            place = "" if backend == "memory" else f"{directory}/store"
            past = family + past + kept
            asyncio.run(compare(f"{backend}://{place}", past, meanwhile, program))

    agree()


async def compare(url: str, past: list[Step], meanwhile: list[Step], program: list[Step]) -> None:
    """The past happens to a base and to the oracle; then the base goes its own way, and the program
    is run on the overlay and on the oracle."""
    clock = ManualClock()
    oracle, base = (
        open_stores(place, sync=False, limits=LIMITS, clock=clock) for place in ("memory://", url)
    )
    try:
        await compare_over(base, World(oracle, clock), past, meanwhile, program)
    finally:
        await base.close()


async def compare_over(
    base: Stores, world: World, past: list[Step], meanwhile: list[Step], program: list[Step]
) -> None:
    oracle, clock = world.oracle, world.clock
    for one in past:
        await agree_on(one, await one.prepare(world), oracle, base)
    overlay = await lay_over(base, clock=clock, limits=LIMITS)
    for one in meanwhile:
        await answer(await without_snapshot(one).prepare(World(base, clock)), base)
    traces = await traced(base)

    for one in program:
        is_nested = one.name == "load_latest" and one.drawn[0].edition in NESTED
        if one.name not in OTHERS and not is_nested:
            await agree_on(one, await one.prepare(world), oracle, overlay)
    for number, ask in enumerate(questions()):
        await agree_on(Step("sweep", (number,)), ask, oracle, overlay)

    assert await traced(base) == traces


async def whole_scan(stores: Stores) -> list[Any]:
    """All rows, scan by scan: one of them may end where the base's log did."""
    rows: list[Any] = []
    after = 0
    while (found := await stores.events.scan(after, limit=7, fields=FIELDS)).last > after:
        after = found.last
        rows += rows_of(found)
    return rows


def without_snapshot(one: Step) -> Step:
    """Retention would remove what the overlay may still have wanted."""
    cover, given = one.drawn
    return Step(one.name, (cover, replace(given, snapshot=None)))


async def traced(base: Stores) -> list[Any]:
    return [await answer(ask, base) for ask in questions()]


def questions() -> Iterator[Ask]:
    """What both sides can be asked."""
    for cover in COVERS:
        asked = list(sweep_stream(cover))
        if cover.edition in NESTED:
            del asked[LOAD_LATEST]
        yield from asked
    for domain in ("account", "order"):
        yield lambda s, d=domain: s.events.editions(d)
        yield lambda s, d=domain: s.events.roots(d)
        yield lambda s, d=domain: s.events.roots(d, "left")
    yield lambda s: s.events.domains()
    for correlation_id in ("corr-1", "corr-2"):
        yield lambda s, c=correlation_id: s.events.by_correlation(c)
        yield lambda s, c=correlation_id: s.events.by_correlation(c, edition="left")
    yield lambda s: s.events.tail(0, limit=1_000)
    yield whole_scan
    for edition in EDITIONS:
        yield lambda s, e=edition: s.editions.get(e)
        yield lambda s, e=edition: s.editions.usage(e)
        yield lambda s, e=edition: s.editions.branches("account", e)
    yield lambda s: s.events.log_head()
    yield lambda s: s.obligations.due(2**62, limit=100, lease_s=0)
    yield lambda s: s.dead_letters.list()
    yield lambda s: s.editions.list()
