"""Consumers that lag, are stuck or have a stuck stream: bounded, and in nobody's way (STO-25,
DLQ-4, PROJ-14, STO-27).
"""

from __future__ import annotations

import asyncio
import random

import pytest

from angzarr.errors import StoreClosed, StoreUnavailable
from angzarr.testing.pages import cover_of, page

from .bus import ALICE, BOB, Recorder, spec, turns

CURSOR = "saga-shipping"
TRANSIENT = StoreUnavailable("elsewhere", "it is down")


class Gate:
    """A fault that holds deliveries, of one root if one is given, until it is opened."""

    def __init__(self, root: bytes | None = None) -> None:
        self._root = root
        self._event = asyncio.Event()

    def __call__(self, delivery):
        return self._event.wait() if self._root in (None, delivery.cover.root) else None

    def open(self) -> None:
        self._event.set()


def _run_of(consumers, name=CURSOR):
    return consumers._seats[name][0].run


async def _publish(bus, cover, count):
    for _ in range(count):
        await bus.publish(cover)


@pytest.mark.spec("STO-25")
async def test_a_stuck_consumer_keeps_no_more_than_its_window(timed):
    consumers = await timed.start(spec(Recorder(Gate())), window=8)

    for number in range(100):
        await timed.publish(cover_of(f"root-{number}"))
        await turns(3)

    lanes = _run_of(consumers).lanes
    assert (lanes.count, consumers.lag(CURSOR)) == (8, 100)


@pytest.mark.spec("STO-25")
async def test_the_window_is_bounded_in_bytes_too(timed):
    gate = Gate()
    got = Recorder(gate)
    consumers = await timed.start(spec(got), window_bytes=5_000)
    for number in range(20):
        cover = cover_of(f"root-{number}")
        await timed.stores.events.append(cover, 0, [page(0, value=bytes(1_000))])
    await turns()
    lanes = _run_of(consumers).lanes
    assert (lanes.count, lanes.size_bytes < 6_500) == (5, True)

    gate.open()
    await got.until(20)


@pytest.mark.spec("STO-25")
async def test_a_book_larger_than_the_window_goes_alone(timed):
    got = Recorder()
    await timed.start(spec(got), window_bytes=10)

    await _publish(timed, ALICE, 5)
    await got.until(5)

    assert got.sequences == [0, 1, 2, 3, 4]


@pytest.mark.spec("STO-25", "STO-50")
async def test_a_stuck_consumer_is_no_matter_to_the_others(timed):
    got = Recorder()
    await timed.start(spec(Recorder(Gate()), "stuck"), spec(got), window=4)

    await _publish(timed, ALICE, 200)
    await got.until(200)

    assert got.sequences == list(range(200))


@pytest.mark.spec("STO-25")
async def test_a_stuck_consumer_reads_nothing(timed, monkeypatch):
    await timed.start(spec(Recorder(Gate()), "stuck"), spec(Recorder()), window=4)
    await _publish(timed, ALICE, 10)
    await turns()
    reads: list[int] = []
    tail = timed.stores.events.tail

    async def counted(after: int, **more: object):
        reads.append(after)
        return await tail(after, **more)

    monkeypatch.setattr(timed.stores.events, "tail", counted)
    for _ in range(10):
        await timed.publish(ALICE)
        await turns()

    assert all(after >= 10 for after in reads)
    assert len(reads) <= 11


@pytest.mark.spec("STO-25", "STO-50", "PROJ-6")
async def test_a_consumer_that_lagged_catches_up_by_itself_and_joins_the_others(timed):
    gate = Gate()
    got = Recorder(gate)
    consumers = await timed.start(spec(got), spec(Recorder(), "quick"), window=4)
    await _publish(timed, ALICE, 300)
    await turns()
    assert not _run_of(consumers).is_attached

    gate.open()
    await got.until(300)
    await turns()

    assert got.sequences == list(range(300))
    assert _run_of(consumers).is_attached
    await timed.publish(ALICE)
    await got.until(301)


@pytest.mark.spec("PROJ-6", "STO-50")
async def test_a_consumer_that_catches_up_while_others_write_misses_nothing(bus):
    await _publish(bus, ALICE, 500)
    early, late = Recorder(), Recorder()
    await bus.start(spec(early, "early", from_now=True), window=16)
    writing = asyncio.create_task(_publish(bus, BOB, 300))

    await bus.start(spec(late, "late"), window=16)
    await writing
    await asyncio.gather(early.until(300), late.until(800))

    assert late.of(ALICE) == list(range(500))
    assert late.of(BOB) == early.of(BOB) == list(range(300))


@pytest.mark.spec("PROJ-6")
async def test_a_new_consumer_that_begins_at_the_beginning_holds_up_nobody(timed):
    await _publish(timed, ALICE, 200)
    live, behind = Recorder(), Recorder(Gate())
    consumers = await timed.start(spec(behind, "behind"), spec(live, "live", from_now=True))
    await turns()
    assert _run_of(consumers, "saga-live").is_attached

    await timed.publish(BOB)
    await turns()

    assert live.of(BOB) == [0]


@pytest.mark.spec("DLQ-4", "PROJ-14")
async def test_a_failing_stream_longer_than_the_window_holds_up_no_other_stream(timed):
    is_down = [True]

    def fault(delivery):
        if is_down[0] and delivery.cover.root == ALICE.root:
            raise TRANSIENT

    got = Recorder(fault)
    consumers = await timed.start(spec(got), window=8, on_poison="block")
    for _ in range(50):
        await timed.publish(ALICE)
        await timed.publish(BOB)
        await timed.publish(BOB)
    await timed.time.advance(120.0)

    assert got.of(BOB) == list(range(100))
    assert got.of(ALICE) == []
    assert _run_of(consumers).lanes.count <= 8
    assert consumers.states()[CURSOR].position == 0

    is_down[0] = False
    await timed.time.advance(120.0)
    assert got.of(ALICE) == list(range(50))
    assert await timed.stores.positions.cursor(CURSOR) == 150


@pytest.mark.spec("DLQ-4", "PROJ-14")
async def test_what_such_a_stream_let_go_of_comes_before_what_follows(timed):
    is_down = [True]

    def fault(delivery):
        if is_down[0] and delivery.cover.root != BOB.root:
            raise TRANSIENT

    carol = cover_of("carol")
    got = Recorder(fault)
    await timed.start(spec(got), window=8, on_poison="block")
    for cover in (ALICE, carol):
        await _publish(timed, cover, 30)
    await _publish(timed, BOB, 5)
    await timed.time.advance(60.0)
    assert got.of(BOB) == list(range(5))

    is_down[0] = False
    for _ in range(40):
        for cover in (ALICE, carol, BOB):
            await timed.publish(cover)
        await timed.time.advance(1.0)
    await timed.time.advance(60.0)

    assert got.of(ALICE) == list(range(70))
    assert got.of(carol) == list(range(70))
    assert got.of(BOB) == list(range(45))


@pytest.mark.spec("DLQ-4")
async def test_the_cursor_stays_below_what_was_let_go_of(timed):
    gate = Gate()

    def fault(delivery):
        if delivery.cover.root == BOB.root:
            return None
        if delivery.first == 0 and delivery.attempt < 4:
            raise TRANSIENT
        return gate(delivery) if delivery.first == 7 else None

    got = Recorder(fault)
    await timed.start(spec(got), window=4)
    await _publish(timed, ALICE, 20)
    await _publish(timed, BOB, 20)
    await timed.time.advance(30.0)

    assert got.of(ALICE) == list(range(7))
    assert got.of(BOB) == list(range(20))
    assert await timed.stores.positions.cursor(CURSOR) == 7
    gate.open()
    await timed.time.advance(30.0)
    assert await timed.stores.positions.cursor(CURSOR) == 40


@pytest.mark.spec("DLQ-4")
@pytest.mark.parametrize("window", [3, 6, 20])
@pytest.mark.parametrize("seed", range(4))
async def test_streams_of_which_each_fails_now_and_then_are_all_delivered(timed, window, seed):
    """Every stream waits for a next attempt again and again, with a window far too small."""
    covers = [cover_of(f"root-{number}") for number in range(12)]
    dice = random.Random(seed)

    def fault(delivery):
        if delivery.attempt < 9 and dice.random() < 0.5:
            raise TRANSIENT

    got = Recorder(fault)
    await timed.start(spec(got), window=window)
    for _ in range(30):
        for cover in covers:
            await timed.publish(cover)
        await timed.time.advance(dice.choice((0.0, 0.1, 1.0)))
    await timed.time.advance(3600.0)

    assert all(got.of(cover) == list(range(30)) for cover in covers)  # each once, too
    assert await timed.stores.positions.cursor(CURSOR) == 360


@pytest.mark.spec("DLQ-4")
async def test_a_handler_that_never_ends_holds_up_its_stream_only(timed):
    gate = Gate(ALICE.root)
    got = Recorder(gate)
    await timed.start(spec(got), window=8)
    await _publish(timed, ALICE, 30)
    await _publish(timed, BOB, 30)
    await timed.time.advance(30.0)

    assert got.of(BOB) == list(range(30))
    gate.open()
    await timed.time.advance(30.0)
    assert got.of(ALICE) == list(range(30))


@pytest.mark.spec("PROJ-14")
async def test_with_a_concurrency_of_one_a_failure_holds_up_the_log(timed):
    is_down = [True]

    def fault(delivery):
        if is_down[0] and delivery.position == 1:
            raise TRANSIENT

    got = Recorder(fault)
    await timed.start(spec(got, concurrency=1), window=4, on_poison="block")
    await _publish(timed, ALICE, 10)
    await _publish(timed, BOB, 10)
    await timed.time.advance(60.0)
    assert got.done == []

    is_down[0] = False
    await timed.time.advance(60.0)
    assert [d.position for d in got.done] == list(range(1, 21))


@pytest.mark.spec("STO-27")
@pytest.mark.parametrize("method", ["tail", "log_head"])
async def test_errors_of_the_store_while_following_are_tried_again_for_ever(
    timed, monkeypatch, method
):
    await _publish(timed, ALICE, 3)
    failures = [20]
    real = getattr(timed.stores.events, method)

    async def failing(*args: object, **more: object):
        if failures[0]:
            failures[0] -= 1
            raise StoreUnavailable("data", "flaky")
        return await real(*args, **more)

    monkeypatch.setattr(timed.stores.events, method, failing)
    got = Recorder()
    await timed.start(spec(got))
    await timed.time.advance(600.0)
    await _publish(timed, ALICE, 3)
    await turns()

    assert got.sequences == list(range(6))
    assert failures == [0]


@pytest.mark.spec("STO-27")
async def test_unexpected_errors_while_following_are_logged_and_end_nothing(
    timed, monkeypatch, caplog
):
    failures = [2]
    real = timed.stores.events.tail

    async def failing(*args: object, **more: object):
        if failures[0]:
            failures[0] -= 1
            raise ZeroDivisionError("a bug")
        return await real(*args, **more)

    monkeypatch.setattr(timed.stores.events, "tail", failing)
    got = Recorder()
    await timed.start(spec(got))
    await timed.publish()
    await timed.time.advance(60.0)

    assert got.sequences == [0]
    assert "Traceback" in caplog.text


@pytest.mark.spec("STO-27", "STO-5")
async def test_a_closed_store_ends_the_following(timed):
    got = Recorder()
    consumers = await timed.start(spec(got))
    await timed.publish()
    await got.until(1)

    await timed.stores.close()
    await timed.time.advance(60.0)
    await consumers.stop()

    assert got.sequences == [0]
    with pytest.raises(StoreClosed):
        await timed.publish()


@pytest.mark.spec("SAGA-2")
async def test_a_cursor_that_cannot_be_stored_is_stored_later(timed, monkeypatch):
    put_cursor = timed.stores.positions.put_cursor
    is_down = [True]

    async def flaky(consumer: str, position: int) -> int:
        if is_down[0]:
            raise StoreUnavailable("data", "flaky")
        return await put_cursor(consumer, position)

    monkeypatch.setattr(timed.stores.positions, "put_cursor", flaky)
    await timed.start(spec(Recorder()))
    await timed.publish()
    await timed.time.advance(1.0)
    is_down[0] = False
    assert await timed.stores.positions.cursor(CURSOR) is None

    await timed.time.advance(6.0)

    assert await timed.stores.positions.cursor(CURSOR) == 1


@pytest.mark.spec("OPS-3")
async def test_a_cursor_that_cannot_be_stored_at_the_stop_is_no_reason_not_to_stop(
    timed, monkeypatch
):
    async def down(consumer: str, position: int) -> int:
        raise StoreUnavailable("data", "flaky")

    monkeypatch.setattr(timed.stores.positions, "put_cursor", down)
    consumers = await timed.start(spec(Recorder()))
    await timed.publish()
    await turns()

    await consumers.stop()

    assert await timed.stores.positions.lease(CURSOR, 0, "other", 30.0)


async def test_handlers_that_never_wait_leave_the_loop_to_others(bus):
    await _publish(bus, ALICE, 2_000)
    got = Recorder()
    await bus.start(spec(got))

    rounds = 0
    while len(got.done) < 2_000:
        await asyncio.sleep(0)
        rounds += 1

    assert rounds > 10
