"""Deliveries that fail: tried again, given up on durably, and never in the way of others (DLQ-2 to
DLQ-5, SAGA-5, STO-26, STO-50).
"""

from __future__ import annotations

import asyncio
import base64
import logging

import pytest

from angzarr.coordinators.letters import UNDECODABLE
from angzarr.errors import (
    CommandRejected,
    HandlerFailed,
    InvalidInput,
    ReadStoreUnavailable,
    RemoteError,
    StoreUnavailable,
)
from angzarr.ports.components import Subscription
from angzarr.ports.event_store import LogEntry
from angzarr.testing.pages import cover_of, page, sequences_of

from .bus import ALICE, BOB, Recorder, projector, spec, turns

TRANSIENT = RemoteError("UNAVAILABLE", "it is down")
PERMANENT = InvalidInput("payload", "a number", "x")
CURSOR = "saga-shipping"


def failing(error: Exception, times: int = 10**9, *, root: bytes | None = None):
    """A fault that raises for the first deliveries, of one root if one is given."""
    left = [times]

    def fault(delivery):
        if root in (None, delivery.cover.root) and left[0] > 0:
            left[0] -= 1
            raise error

    return fault


@pytest.mark.spec("DLQ-3", "SAGA-5", "STO-26")
async def test_a_transient_failure_is_tried_again_until_it_succeeds_and_leaves_nothing(timed):
    got = Recorder(failing(TRANSIENT, 3))
    await timed.start(spec(got))
    await timed.publish()
    await timed.time.advance(60.0)

    assert [d.attempt for d in got.got] == [1, 2, 3, 4]
    assert got.sequences == [0]
    assert await timed.letters() == []


@pytest.mark.spec("DLQ-3")
async def test_attempts_are_further_and_further_apart(timed):
    await timed.start(spec(Recorder(failing(TRANSIENT))), jitter=0.0, store_every_s=0.07)
    await timed.publish()
    await timed.time.advance(60.0)

    backoffs = [delay for delay in timed.time.delays if delay not in (5.0, 0.07)]
    assert backoffs == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6]


@pytest.mark.spec("DLQ-3", "PROJ-18")
@pytest.mark.parametrize("lost", [StoreUnavailable, ReadStoreUnavailable])
async def test_a_store_that_is_away_is_waited_for_and_nothing_is_given_up(timed, lost):
    got = Recorder(failing(lost("elsewhere", "it is down"), 30))
    await timed.start(spec(got))
    await timed.publish()
    await timed.time.advance(1_000.0)

    assert (len(got.got), got.sequences) == (31, [0])
    assert await timed.letters() == []


@pytest.mark.spec("DLQ-3", "DLQ-2", "STO-50", "STO-26", "SAGA-5")
async def test_at_the_end_of_the_budget_is_a_dead_letter_and_the_consumer_goes_on(timed):
    got = Recorder(failing(TRANSIENT, 10))
    await timed.start(spec(got))
    await timed.publish(count=2)
    await timed.publish()
    await timed.time.advance(60.0)

    (letter,) = await timed.letters()
    detail = letter.event_processing_failed
    assert len(got.got) == 11
    assert (detail.retry_count, detail.is_transient) == (9, True)
    assert letter.rejection_reason == f"Event processing failed after 10 attempts: {TRANSIENT}"
    assert letter.rejected_events.SerializeToString(deterministic=True) == got.got[0].book
    assert (letter.source_component, letter.source_component_type) == ("saga:shipping", "saga")
    assert letter.occurred_at.ToNanoseconds() > 0
    assert got.sequences == [2]
    assert await timed.stores.positions.cursor(CURSOR) == 3


@pytest.mark.spec("DLQ-3")
async def test_the_budget_is_configurable(timed):
    await timed.start(spec(Recorder(failing(TRANSIENT))), max_attempts=3)
    await timed.publish()
    await timed.time.advance(60.0)

    (letter,) = await timed.letters()
    assert letter.event_processing_failed.retry_count == 2


@pytest.mark.spec("DLQ-3", "DLQ-2", "SAGA-5")
@pytest.mark.parametrize("error", [PERMANENT, CommandRejected("no")])
async def test_a_permanent_failure_is_a_dead_letter_at_once(timed, error):
    got = Recorder(failing(error, 1))
    await timed.start(spec(got))
    await timed.publish()
    await turns()

    (letter,) = await timed.letters()
    detail = letter.event_processing_failed
    assert len(got.got) == 1
    assert (detail.retry_count, detail.is_transient, detail.error) == (0, False, str(error))
    assert letter.rejection_reason == f"Event processing failed after 1 attempts: {error}"


@pytest.mark.spec("DLQ-3")
async def test_a_failure_that_turns_permanent_ends_the_attempts(timed):
    errors = [TRANSIENT, TRANSIENT, PERMANENT]

    def fault(delivery):
        raise errors[delivery.attempt - 1]

    await timed.start(spec(Recorder(fault)))
    await timed.publish()
    await timed.time.advance(60.0)

    (letter,) = await timed.letters()
    detail = letter.event_processing_failed
    assert (detail.retry_count, detail.is_transient) == (2, False)


@pytest.mark.spec("DLQ-3", "SAGA-5")
async def test_an_unexpected_exception_is_logged_with_its_traceback_and_tried_again(timed, caplog):
    got = Recorder(failing(ZeroDivisionError("a bug"), 1))
    await timed.start(spec(got))
    with caplog.at_level(logging.WARNING):
        await timed.publish()
        await timed.time.advance(1.0)

    assert got.sequences == [0]
    assert "Traceback" in caplog.text
    assert "saga:shipping failed on log position 1" in caplog.text


@pytest.mark.spec("OPS-7")
async def test_failures_are_logged_with_component_cover_and_correlation_but_no_payload(
    timed, caplog
):
    secret = b"card 4711"
    await timed.start(spec(Recorder(failing(HandlerFailed("saga:shipping", "no"), 1))))
    cover = cover_of("alice", correlation_id="c-1")
    with caplog.at_level(logging.DEBUG):
        await timed.stores.events.append(cover, 0, [page(0, value=secret)])
        await timed.time.advance(1.0)

    assert f"saga:shipping failed on log position 1 ({cover}, correlation id c-1)" in caplog.text
    assert secret.decode() not in caplog.text


@pytest.mark.spec("DLQ-3")
async def test_something_that_was_cancelled_within_a_handler_is_a_failure_of_it(timed):
    async def cancel() -> None:
        raise asyncio.CancelledError

    got = Recorder(lambda d: cancel() if d.attempt == 1 else None)
    await timed.start(spec(got))
    await timed.publish()
    await timed.time.advance(1.0)

    assert [d.attempt for d in got.done] == [2]


@pytest.mark.spec("DLQ-4", "STO-50")
async def test_a_failing_stream_holds_up_no_other_stream(timed):
    got = Recorder(failing(TRANSIENT, root=ALICE.root))
    await timed.start(spec(got, concurrency=2))
    for _ in range(5):
        await timed.publish(ALICE)
        await timed.publish(BOB)
    await turns()

    assert got.of(BOB) == [0, 1, 2, 3, 4]
    assert got.of(ALICE) == []


@pytest.mark.spec("DLQ-4")
async def test_streams_that_wait_for_another_attempt_take_no_place_from_others(timed):
    got = Recorder(lambda d: failing(TRANSIENT)(d) if d.cover.root != BOB.root else None)
    await timed.start(spec(got, concurrency=2))
    for number in range(10):
        await timed.publish(cover_of(f"failing-{number}"))
    await timed.publish(BOB)
    await turns()

    assert got.of(BOB) == [0]


@pytest.mark.spec("STO-50", "STO-26", "STO-25")
async def test_a_failure_is_delivered_again_to_that_consumer_only(timed):
    bad, good = Recorder(failing(TRANSIENT, 2)), Recorder()
    await timed.start(spec(bad), spec(good, "good"))
    await timed.publish()
    await timed.publish()
    await timed.time.advance(5.0)

    assert [d.first for d in bad.got] == [0, 0, 0, 1]
    assert [d.first for d in good.got] == [0, 1]


@pytest.mark.spec("DLQ-4")
async def test_the_position_moves_only_after_the_dead_letter_is_durable(timed, monkeypatch):
    written = asyncio.Event()
    put = timed.stores.dead_letters.put

    async def slow_put(letter: bytes) -> str:
        await written.wait()
        return await put(letter)

    monkeypatch.setattr(timed.stores.dead_letters, "put", slow_put)
    got = Recorder(failing(PERMANENT, 1))
    await timed.start(spec(got))
    await timed.publish()
    await timed.publish()
    await timed.time.advance(10.0)
    assert await timed.stores.positions.cursor(CURSOR) in (None, 0)
    assert got.done == []

    written.set()
    await timed.time.advance(10.0)
    assert await timed.stores.positions.cursor(CURSOR) == 2
    assert got.sequences == [1]


@pytest.mark.spec("DLQ-4")
@pytest.mark.parametrize("error", [TRANSIENT, PERMANENT])
async def test_with_block_the_stream_is_tried_for_ever_and_others_go_on(timed, error):
    got = Recorder(failing(error, root=ALICE.root))
    await timed.start(spec(got), on_poison="block")
    await timed.publish(ALICE)
    for _ in range(3):
        await timed.publish(BOB)
    await timed.time.advance(3600.0)

    attempts = [d.attempt for d in got.got if d.cover.root == ALICE.root]
    assert len(attempts) > 100
    assert got.of(BOB) == [0, 1, 2]
    assert await timed.letters() == []
    assert await timed.stores.positions.cursor(CURSOR) in (None, 0)


@pytest.mark.spec("DLQ-4")
async def test_with_block_a_stream_that_recovers_goes_on_in_order(timed):
    got = Recorder(failing(PERMANENT, 20, root=ALICE.root))
    await timed.start(spec(got), on_poison="block")
    for _ in range(4):
        await timed.publish(ALICE)
    await timed.time.advance(3600.0)

    assert got.of(ALICE) == [0, 1, 2, 3]


@pytest.mark.spec("DLQ-5")
async def test_a_dead_letter_that_cannot_be_written_makes_the_delivery_try_again(
    timed, monkeypatch
):
    fails = [True]
    put = timed.stores.dead_letters.put

    async def bad_put(letter: bytes) -> str:
        if fails[0]:
            raise StoreUnavailable("dlq", "disk full")
        return await put(letter)

    monkeypatch.setattr(timed.stores.dead_letters, "put", bad_put)
    got = Recorder(failing(PERMANENT))
    await timed.start(spec(got))
    await timed.publish()
    await timed.time.advance(120.0)
    assert len(got.got) > 5
    assert await timed.stores.positions.cursor(CURSOR) in (None, 0)

    fails[0] = False
    await timed.time.advance(60.0)

    (letter,) = await timed.letters()
    assert letter.event_processing_failed.retry_count == len(got.got) - 1
    assert await timed.stores.positions.cursor(CURSOR) == 1


@pytest.mark.spec("DLQ-5")
async def test_a_delivery_that_succeeds_at_last_needs_no_dead_letter(timed, monkeypatch):
    async def bad_put(letter: bytes) -> str:
        raise StoreUnavailable("dlq", "disk full")

    monkeypatch.setattr(timed.stores.dead_letters, "put", bad_put)
    got = Recorder(failing(PERMANENT, 4))
    await timed.start(spec(got))
    await timed.publish()
    await timed.time.advance(60.0)

    assert got.sequences == [0]
    assert await timed.stores.positions.cursor(CURSOR) == 1


@pytest.mark.spec("DLQ-4")
async def test_a_consumer_hears_of_the_books_that_were_given_up(timed):
    told = Recorder()
    got = Recorder(failing(PERMANENT, 1))
    await timed.start(projector(got, gave_up=told))
    await timed.publish(count=2)
    await timed.publish()
    await turns()

    assert [(d.first, d.last) for d in told.got] == [(0, 1)]
    assert told.got[0].book == got.got[0].book
    assert got.sequences == [2]


@pytest.mark.spec("DLQ-4")
async def test_a_consumer_that_cannot_hear_of_it_is_told_again_with_one_letter_only(timed):
    told = Recorder(failing(TRANSIENT, 3))
    got = Recorder(failing(PERMANENT, 1))
    await timed.start(projector(got, gave_up=told))
    await timed.publish()
    await timed.publish()
    await timed.time.advance(30.0)

    assert len(told.got) == 4
    assert len(await timed.letters()) == 1
    assert [d.first for d in got.got] == [0, 1]


@pytest.mark.spec("SAGA-2", "DLQ-2", "DLQ-8")
async def test_a_sagas_dead_letter_has_the_pages_that_it_was_given(timed):
    paid = "type.googleapis.com/shop.Paid"
    subscriptions = (Subscription("account", ("Paid",)),)
    await timed.start(spec(Recorder(failing(PERMANENT)), subscriptions=subscriptions))

    await timed.stores.events.append(ALICE, 0, [page(0), page(1, type_url=paid)])
    await turns()

    (letter,) = await timed.letters()
    book = letter.rejected_events.SerializeToString()
    assert sequences_of(book) == [1]


@pytest.mark.spec("STO-26", "STO-50", "DLQ-3")
@pytest.mark.parametrize("make", [spec, projector])
@pytest.mark.parametrize("is_addressed", [True, False])
async def test_what_cannot_be_decoded_is_a_dead_letter_at_once(
    timed, monkeypatch, make, is_addressed
):
    await timed.publish()
    await timed.publish()
    tail = timed.stores.events.tail

    async def torn(after: int, **more: object) -> list[LogEntry]:
        entries = await tail(after, **more)
        if after < 1 and entries:
            book = entries[0].book[:-3] if is_addressed else b"\xff\xff"
            entries[0] = LogEntry(entries[0].position, entries[0].first_position, book)
        return entries

    monkeypatch.setattr(timed.stores.events, "tail", torn)
    got = Recorder()
    await timed.start(make(got))
    await turns()

    (letter,) = await timed.letters()
    book = base64.b64decode(letter.metadata[UNDECODABLE])
    assert (await tail(0))[0].book[:-3] == book if is_addressed else book == b"\xff\xff"
    assert not letter.event_processing_failed.is_transient
    assert got.sequences == [1]


async def test_the_state_tells_what_waits_and_why(timed):
    consumers = await timed.start(spec(Recorder(failing(TRANSIENT, root=ALICE.root))))
    await timed.publish(ALICE)
    await timed.publish(BOB)
    await turns()

    state = consumers.states()[CURSOR]
    assert (state.waiting, state.position, state.lag) == (1, 0, 2)
    assert str(TRANSIENT) in state.last_error
    assert state.is_leading
