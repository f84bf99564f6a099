"""What an overlay sees of its base, and that the base never hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from angzarr.cover import Cover
from angzarr.errors import DivergenceConflict, InvalidDivergence, InvalidInput, StoreClosed
from angzarr.ports.event_store import COMMIT, Duplicate, Limits, Obligation
from angzarr.ports.stores import Stores
from angzarr.stores.memory import MemoryStores
from angzarr.stores.overlay import OverlayStores, Point, lay_over
from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock
from angzarr.testing.contracts.base import given_pages, given_pending, traces_of
from angzarr.testing.pages import cover_of, page, pages, provenance, sequences_of, snapshot

ALICE, BOB = cover_of("alice"), cover_of("bob")


class Counting:
    """An event store that counts the calls of each method."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._inner, name)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def base(clock: ManualClock) -> Stores:
    return MemoryStores("", Limits(), clock)


async def over(base: Stores, point: Point = Point(), **options: Any) -> OverlayStores:  # noqa: B008
    return await lay_over(base, point, clock=ManualClock(), **options)


async def sequences(stores: Stores, cover: Cover) -> list[int]:
    return sequences_of((await stores.events.load(cover)).data)


@pytest.mark.spec("SPEC-6")
async def test_appends_follow_the_bases_pages(base: Stores) -> None:
    await given_pages(base.events, ALICE, 3)
    overlay = await over(base)

    await overlay.events.append(ALICE, 3, pages(3, 2))

    assert await sequences(overlay, ALICE) == [0, 1, 2, 3, 4]
    assert await sequences(base, ALICE) == [0, 1, 2]


@pytest.mark.spec("SPEC-6")
async def test_nothing_of_any_port_reaches_the_base(base: Stores) -> None:
    await given_pages(base.events, ALICE, 3)
    before = await traces_of(base, ALICE), await base.editions.list()
    overlay = await over(base)

    await overlay.events.append(
        ALICE,
        3,
        pages(3, 1),
        snapshot=snapshot(3),
        provenance=provenance(1),
        obligations=[Obligation("duty", "kind", b"", START_NS)],
    )
    await given_pending(overlay.events, BOB, "casc-1")
    await overlay.events.decide_cascade("casc-1", COMMIT)
    await overlay.events.resolve_cascade(BOB, "casc-1")
    await overlay.snapshots.put(ALICE, snapshot(2))
    await overlay.positions.put_cursor("saga:a", 9)
    await overlay.positions.put("saga:a", ALICE, 3)
    await overlay.positions.lease("saga:a", 0, "me", 30)
    await overlay.dead_letters.put(b"letter")
    await overlay.editions.declare("left")
    await overlay.events.append(ALICE.on("left"), 2, pages(2, 1), divergence=2)
    await overlay.events.delete_edition("account", "left")

    assert (await traces_of(base, ALICE), await base.editions.list()) == before
    assert await base.events.decision("casc-1") is None
    assert await base.positions.cursor("saga:a") is None
    assert await base.positions.get("saga:a", ALICE) is None
    assert await base.positions.lease("saga:a", 0, "other", 30)
    assert await base.dead_letters.list() == []


@pytest.mark.spec("SPEC-6")
async def test_what_the_base_stores_later_is_not_seen(base: Stores) -> None:
    await given_pages(base.events, ALICE, 3)
    overlay = await over(base)

    await given_pages(base.events, ALICE, 2)
    await given_pages(base.events, BOB, 2)

    assert await sequences(overlay, ALICE) == [0, 1, 2]
    assert await sequences(overlay, BOB) == []
    assert await overlay.events.roots("account") == [ALICE.root]


async def test_a_branch_that_begins_later_is_not_seen(base: Stores) -> None:
    await given_pages(base.events, ALICE, 3)
    overlay = await over(base)

    await base.events.append(ALICE.on("left"), 1, pages(1, 1), divergence=1)

    assert await sequences(overlay, ALICE.on("left")) == [0, 1, 2]
    assert await overlay.events.divergence(ALICE.on("left")) is None


async def test_a_stream_is_read_once_and_only_if_it_is_looked_at(base: Stores) -> None:
    await given_pages(base.events, ALICE, 3)
    await given_pages(base.events, BOB, 3)
    counting = Counting(base.events)
    base.events = counting  # type: ignore[misc, assignment]
    overlay = await over(base)
    assert counting.calls == ["log_head"]

    for _ in range(3):
        await overlay.events.load_latest(ALICE)
        await overlay.events.load(ALICE)
        await overlay.events.next_sequence(ALICE)

    assert counting.calls == ["log_head", "length_at", "load_latest"]


async def test_a_snapshot_spares_the_pages_before_it(base: Stores) -> None:
    await given_pages(base.events, ALICE, 90)
    await base.snapshots.put(ALICE, snapshot(79))
    overlay = await over(base)
    await given_pages(base.events, ALICE, 10)
    counting = Counting(base.events)
    base.events = counting  # type: ignore[misc, assignment]

    book = await overlay.events.load_latest(ALICE)

    assert sequences_of(book.data) == list(range(80, 90))


@pytest.mark.spec("SNAP-10")
async def test_a_newer_snapshot_of_the_base_is_not_used(base: Stores) -> None:
    await given_pages(base.events, ALICE, 3)
    overlay = await over(base)
    await given_pages(base.events, ALICE, 3)
    await base.snapshots.put(ALICE, snapshot(4))

    book = await overlay.events.load_latest(ALICE)

    assert sequences_of(book.data) == [0, 1, 2]
    assert await overlay.snapshots.get(ALICE) is None


@pytest.mark.spec("SPEC-6", "QRY-16")
async def test_a_position_is_one_moment_of_all_streams(base: Stores) -> None:
    for _ in range(3):
        await given_pages(base.events, ALICE, 1)
        await given_pages(base.events, BOB, 1)

    overlay = await over(base, Point(position=3))

    assert await sequences(overlay, ALICE) == [0, 1]
    assert await sequences(overlay, BOB) == [0]


@pytest.mark.spec("SPEC-6")
async def test_a_page_of_one_stream_tells_the_moment_of_all(base: Stores) -> None:
    for _ in range(3):
        await given_pages(base.events, ALICE, 1)
        await given_pages(base.events, BOB, 1)

    overlay = await over(base, Point(stream=ALICE, count=2))

    assert await sequences(overlay, ALICE) == [0, 1]
    assert await sequences(overlay, BOB) == [0]


@pytest.mark.spec("SPEC-6")
async def test_a_time_takes_the_leading_pages_created_by_then(base: Stores) -> None:
    times = [0, 5, 2, 1]
    made = [page(n, created_at_ns=START_NS + s * NS_PER_S) for n, s in enumerate(times)]
    await base.events.append(ALICE, 0, made)

    overlay = await over(base, Point(until_ns=START_NS + 2 * NS_PER_S))

    assert await sequences(overlay, ALICE) == [0]


@pytest.mark.spec("SPEC-6")
@pytest.mark.parametrize("count", [0, 4])
async def test_a_page_that_the_log_has_not_is_no_point(base: Stores, count: int) -> None:
    await given_pages(base.events, ALICE, 3)

    with pytest.raises(InvalidInput, match="at"):
        await over(base, Point(stream=ALICE, count=count))


@pytest.mark.spec("SPEC-6", "CAS-9")
async def test_pages_that_a_cascade_holds_back_are_left_out(base: Stores) -> None:
    await given_pages(base.events, ALICE, 2)
    await given_pending(base.events, ALICE, "casc-1")
    await given_pages(base.events, ALICE, 1)

    overlay = await over(base)

    assert await sequences(overlay, ALICE) == [0, 1]


@pytest.mark.spec("CAS-6")
async def test_released_pages_have_their_decision(base: Stores) -> None:
    await given_pending(base.events, ALICE, "casc-1")
    decision = await base.events.decide_cascade("casc-1", COMMIT)
    await base.events.resolve_cascade(ALICE, "casc-1")

    overlay = await over(base)

    assert await overlay.events.decision("casc-1") == decision
    assert await sequences(overlay, ALICE) == [0, 1]


@pytest.mark.spec("EDN-8")
async def test_a_branch_of_the_base_keeps_its_divergence(base: Stores) -> None:
    await given_pages(base.events, ALICE, 5)
    left = ALICE.on("left")
    await base.events.append(left, 2, pages(2, 2), divergence=2)
    overlay = await over(base)

    await overlay.events.append(left, 4, pages(4, 1))

    assert await overlay.events.divergence(left) == 2
    assert await sequences(overlay, left) == [0, 1, 2, 3, 4]
    with pytest.raises(DivergenceConflict):
        await overlay.events.load(left, divergence=3)


@pytest.mark.spec("EDN-21")
async def test_a_branch_in_the_overlay_follows_the_overlays_parent(base: Stores) -> None:
    await given_pages(base.events, ALICE, 2)
    await base.editions.declare("kid", parent="left")
    overlay = await over(base)

    await overlay.events.append(ALICE.on("left"), 2, pages(2, 2))

    assert await sequences(overlay, ALICE.on("kid")) == [0, 1, 2, 3]
    with pytest.raises(InvalidDivergence):
        await overlay.events.load(ALICE.on("kid"), divergence=5)


@pytest.mark.spec("SPEC-6", "EDN-23", "EDN-24")
async def test_limits_of_the_bases_editions_do_not_hold(base: Stores, clock: ManualClock) -> None:
    record = await base.editions.declare(
        "left", max_pages=1, expires_at_ns=clock.now_ns() + NS_PER_S
    )
    clock.advance(2)
    overlay = await lay_over(base, clock=clock)

    await overlay.events.append(ALICE.on("left"), 0, pages(0, 3))

    assert await overlay.editions.get("left") == record


@pytest.mark.spec("CMD-28")
async def test_a_key_of_the_base_is_known_if_its_pages_are(base: Stores) -> None:
    await base.events.append(ALICE, 0, pages(0, 1), provenance=provenance(1))
    overlay = await over(base)
    await base.events.append(ALICE, 1, pages(1, 1), provenance=provenance(2))

    repeated = await overlay.events.append(ALICE, 1, pages(1, 1), provenance=provenance(1))
    later = await overlay.events.append(ALICE, 1, pages(1, 1), provenance=provenance(2))

    assert repeated == Duplicate(0, 0)
    assert not isinstance(later, Duplicate)


@pytest.mark.spec("STO-14")
async def test_the_log_goes_on_where_the_bases_ended(base: Stores) -> None:
    await given_pages(base.events, ALICE, 2)
    overlay = await over(base)
    await given_pages(base.events, ALICE, 5)

    await overlay.events.append(BOB, 0, pages(0, 1))

    entries = await overlay.events.tail(0)
    assert [(entry.first_position, entry.position) for entry in entries] == [(1, 2), (3, 3)]
    assert await overlay.events.log_head() == 3


async def test_the_log_has_only_pages_that_are_seen(base: Stores) -> None:
    await base.events.append(ALICE, 0, pages(0, 3))
    await given_pages(base.events, BOB, 2)

    overlay = await over(base, Point(position=2))

    assert [sequences_of(entry.book) for entry in await overlay.events.tail(0)] == [[0, 1]]
    assert (await overlay.events.scan(0)).count == 2


async def test_consumers_begin_behind_the_bases_log(base: Stores) -> None:
    await given_pages(base.events, ALICE, 2)

    overlay = await over(base)

    assert await overlay.positions.cursor("saga:a") == 2


async def test_correlated_pages_of_the_base_are_found_as_far_as_they_are_seen(
    base: Stores,
) -> None:
    cover = cover_of(correlation_id="corr-1")
    await base.events.append(cover, 0, pages(0, 2))
    overlay = await over(base)
    await base.events.append(cover, 2, pages(2, 1))
    await overlay.events.append(cover, 2, pages(2, 1))

    books = await overlay.events.by_correlation("corr-1")

    assert [sequences_of(book.data) for book in books] == [[0, 1, 2]]


async def test_the_guard_is_told_what_was_read_of_editions(base: Stores) -> None:
    told: list[tuple[str, str]] = []

    async def guard(domain: str, edition: str) -> None:
        told.append((domain, edition))

    overlay = await over(base, guard=guard)
    await overlay.events.load(ALICE.on("left"))

    assert told == [("account", "left")]


async def test_closing_leaves_the_base_open(base: Stores) -> None:
    overlay = await over(base)

    await overlay.close()

    with pytest.raises(StoreClosed):
        await overlay.events.load(ALICE)
    assert await base.events.log_head() == 0
