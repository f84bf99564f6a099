"""Expired editions are deleted (EDN-24)."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from angzarr import wire
from angzarr.coordinators.counters import EDITIONS_FAILED, EDITIONS_REAPED, Counters
from angzarr.coordinators.edition_reaper import LEASE, EditionReaper
from angzarr.errors import StoreUnavailable, UnknownEdition
from angzarr.stores.registry import open_stores

from .bus import Time
from .editing import desk
from .test_editions import audit_root

HOUR = timedelta(hours=1)


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def reaper(world, counters):
    return EditionReaper(world.stores, world.clock, interval_s=60, holder="here", counters=counters)


def counted(counters):
    """How many were deleted, and how often that failed."""
    values = counters.values()
    return values[EDITIONS_REAPED], values[EDITIONS_FAILED]


async def expired(world, name="what-if", **more):
    """An edition with a page, whose time is over."""
    await desk(world).declare(name, ttl=HOUR, **more)
    await world.send("a=1", edition=name)
    world.clock.advance(3600)


@pytest.mark.spec("EDN-24", "EDN-16")
async def test_an_expired_edition_is_deleted_with_an_audit_page(world, reaper, counters):
    await expired(world)

    deleted = await reaper.reap()

    assert (deleted, counted(counters)) == (["what-if"], (1, 0))
    with pytest.raises(UnknownEdition):
        await desk(world).get("what-if")
    [page] = (await world.stored(domain="_angzarr", root=audit_root("what-if", "account"))).pages
    assert wire.EditionEventsDeleted.FromString(page.event.value).deleted_count == 1


@pytest.mark.spec("EDN-24")
async def test_editions_whose_time_is_not_over_stay(world, reaper):
    await desk(world).declare("later", ttl=2 * HOUR)
    await desk(world).declare("for-ever")
    await world.send("a=1", edition="undeclared")
    await expired(world)

    await reaper.reap()

    assert (await desk(world).get("later")).record
    assert (await desk(world).get("for-ever")).record
    assert (await desk(world).get("undeclared")).page_count == 1


@pytest.mark.spec("EDN-24")
async def test_an_edition_expires_at_its_very_instant(world, reaper):
    await desk(world).declare("what-if", ttl=HOUR)
    world.clock.advance(3599)
    early = await reaper.reap()
    world.clock.advance(1)

    assert (early, await reaper.reap()) == ([], ["what-if"])


@pytest.mark.spec("EDN-24", "EDN-25")
async def test_children_go_before_their_parents(world, reaper):
    await desk(world).declare("a-parent", ttl=HOUR)
    await desk(world).declare("b-child", parent="a-parent")
    await desk(world).declare("c-grandchild", parent="b-child")
    world.clock.advance(3600)

    assert await reaper.reap() == ["c-grandchild", "b-child", "a-parent"]


@pytest.mark.spec("EDN-24")
async def test_one_with_pending_pages_waits_for_their_decision_and_its_parent_for_it(
    world, reaper, counters
):
    await desk(world).declare("parent", ttl=HOUR)
    await desk(world).declare("kid", parent="parent")
    await world.send("a=1", edition="kid", cascade_id="c-1")
    world.clock.advance(3600)

    waited = await reaper.reap()
    await world.events.decide_cascade("c-1", "ROLLBACK")
    await world.events.resolve_cascade(world.cover(edition="kid"), "c-1")

    assert (waited, counted(counters)) == ([], (0, 0))
    assert await reaper.reap() == ["kid", "parent"]


@pytest.mark.spec("EDN-24")
async def test_a_failure_is_logged_and_counted_and_keeps_nothing_else(
    world, reaper, counters, caplog
):
    await expired(world, "broken")
    await expired(world, "fine")

    async def refuse(real, domain, edition):
        if edition == "broken":
            raise StoreUnavailable("memory", "the disk is gone")
        return await real(domain, edition)

    world.events.faults["delete_edition"] = refuse
    deleted = await reaper.reap()

    assert (deleted, counted(counters)) == (["fine"], (1, 1))
    assert "edition broken: " in caplog.text
    assert "the disk is gone" in caplog.text
    world.events.faults.clear()
    assert await reaper.reap() == ["broken"]


@pytest.mark.spec("EDN-24")
async def test_an_edition_that_is_given_more_time_meanwhile_stays(world, reaper):
    await expired(world)
    real = world.stores.real.positions.lease

    async def prolonged(*arguments):
        await desk(world).declare("what-if", ttl=HOUR)
        return await real(*arguments)

    world.stores.positions = type("Positions", (), {"lease": staticmethod(prolonged)})

    assert await reaper.reap() == []
    assert (await desk(world).get("what-if")).page_count == 1


@pytest.mark.spec("EDN-24")
async def test_one_process_looks_at_a_time(world, reaper):
    await expired(world)
    await world.stores.positions.lease(LEASE, 0, "elsewhere", 60)

    kept = await reaper.reap()
    world.clock.advance(60)

    assert (kept, await reaper.reap()) == ([], ["what-if"])


@pytest.mark.spec("EDN-24")
async def test_it_looks_at_the_start_and_then_at_every_interval(world, counters):
    time = Time()
    world.clock = time.clock
    world.stores = type(world.stores)(open_stores("memory://", clock=time.clock))
    world.events = world.stores.events
    world.coordinate()
    reaper = EditionReaper(
        world.stores, time.clock, interval_s=60, counters=counters, sleep=time.sleep
    )
    await desk(world).declare("early", ttl=timedelta(seconds=30))
    await desk(world).declare("late", ttl=timedelta(seconds=95))
    time.clock.advance(30)

    reaper.start()
    counts = []
    for seconds in (1, 59, 60):
        await time.advance(seconds)
        await settled()
        counts.append(counted(counters))
    await reaper.stop()

    assert counts == [(1, 0), (1, 0), (2, 0)]


@pytest.mark.spec("EDN-24")
async def test_it_goes_on_after_a_failure_of_any_kind(world, counters, caplog):
    time = Time()
    reaper = EditionReaper(
        world.stores, world.clock, interval_s=60, counters=counters, sleep=time.sleep
    )
    await expired(world)
    world.events.faults["delete_edition"] = KeyError("a bug")

    with caplog.at_level(logging.WARNING):
        reaper.start()
        await settled()
        world.events.faults.clear()
        await time.advance(60)
        await settled()
    await reaper.stop()

    assert counted(counters) == (1, 1)
    assert "a bug" in caplog.text


async def test_stopping_gives_the_lease_back(world, reaper):
    await expired(world)
    reaper.start()
    await settled()

    await reaper.stop()
    await reaper.stop()

    assert await world.stores.positions.lease(LEASE, 0, "elsewhere", 60)


async def test_it_ends_with_the_store(world, reaper, counters):
    await world.stores.real.close()

    reaper.start()
    await settled()

    await reaper.stop()
    assert counted(counters) == (0, 0)


async def settled():
    """Let the reaper do what it can without time going by."""
    for _ in range(200):
        await asyncio.sleep(0)
