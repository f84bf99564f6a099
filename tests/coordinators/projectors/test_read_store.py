"""Effects in a read store are exactly once, whatever fails (PROJ-4), and begin where it ends
(PROJ-6).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import time

import pytest

from angzarr.coordinators.options import ProjectorOptions
from angzarr.errors import (
    HandlerFailed,
    ReadStoreUnavailable,
    StoreClosed,
    StoreUnavailable,
)


@pytest.mark.spec("PROJ-4")
async def test_each_event_has_its_effect_once_however_often_it_is_delivered(world) -> None:
    projector = await world.stored()
    books = [await world.append(str(number)) for number in range(4)]

    for index in (0, 1, 0, 2, 1, 3, 3, 0):
        await projector.deliver(world.delivery_of(books[index]))

    assert world.rows() == [(number, str(number)) for number in range(4)]


@pytest.mark.spec("PROJ-4")
async def test_rows_of_a_handler_that_fails_are_undone(world) -> None:
    projector = await world.stored()
    delivery = world.delivery_of(await world.append("good", "bad"))

    with pytest.raises(HandlerFailed):
        await projector.deliver(delivery)

    assert world.rows() == []


@pytest.mark.spec("PROJ-4")
async def test_a_crash_before_the_commit_leaves_neither_row_nor_position(world) -> None:
    cls = world.rows_class(world.store)
    entered, goes_on = asyncio.Event(), asyncio.Event()

    async def gate(text: str) -> None:
        entered.set()
        await goes_on.wait()

    cls.gate = gate
    projector = await world.stored(cls)
    delivery = world.delivery_of(await world.append("a"))
    task = asyncio.ensure_future(projector.deliver(delivery))
    await entered.wait()
    copy = world.store.at(world.folder / "copy.sqlite")
    for suffix in ("", "-wal"):
        shutil.copy(f"{world.store.path}{suffix}", f"{copy.path}{suffix}")

    cls.gate = None
    after = await world.stored(cls, read_store=copy)
    assert world.rows(copy) == []
    await after.deliver(delivery)

    assert world.rows(copy) == [(0, "a")]
    goes_on.set()
    await task


@pytest.mark.spec("PROJ-4")
async def test_what_waits_shares_a_transaction(world) -> None:
    projector = await world.stored()
    deliveries = [
        world.delivery_of(await world.append("a", name=f"account-{number}")) for number in range(20)
    ]
    commits = _commits(projector)

    await asyncio.gather(*(projector.deliver(delivery) for delivery in deliveries))

    assert len(world.rows()) == 20
    assert len(commits) == 1


def _commits(projector) -> list[str]:
    """The commits of its file from now on."""
    found: list[str] = []

    def note(statement: str) -> None:
        if statement == "COMMIT":
            found.append(statement)

    projector._target._model.db.set_trace_callback(note)
    return found


@pytest.mark.spec("PROJ-4")
async def test_one_that_fails_does_not_harm_those_it_shared_with(world) -> None:
    projector = await world.stored()
    deliveries = [
        world.delivery_of(await world.append("bad" if number == 2 else "good", name=f"a-{number}"))
        for number in range(5)
    ]

    done = await asyncio.gather(
        *(projector.deliver(delivery) for delivery in deliveries), return_exceptions=True
    )

    assert [type(item) for item in done] == [
        type(None),
        type(None),
        HandlerFailed,
        type(None),
        type(None),
    ]
    assert world.rows() == [(0, "good")] * 4


@pytest.mark.spec("PROJ-4")
async def test_deliveries_of_one_stream_in_one_transaction_keep_their_order(world) -> None:
    projector = await world.stored()
    deliveries = [world.delivery_of(await world.append(str(number))) for number in range(10)]

    await asyncio.gather(*(projector.deliver(delivery) for delivery in deliveries))

    assert world.rows() == [(number, str(number)) for number in range(10)]


@pytest.mark.spec("PROJ-4", "PROJ-14")
async def test_a_transaction_has_bounds(world) -> None:
    world.options = ProjectorOptions(batch_books=3)
    projector = await world.stored()
    deliveries = [
        world.delivery_of(await world.append("a", name=f"account-{number}")) for number in range(9)
    ]
    commits = _commits(projector)

    await asyncio.gather(*(projector.deliver(delivery) for delivery in deliveries))

    assert len(world.rows()) == 9
    assert len(commits) == 3


@pytest.mark.spec("PROJ-4")
async def test_a_long_batch_is_committed_in_parts(world) -> None:
    """So that a slow handler does not keep what is done from those who read."""
    world.options = ProjectorOptions(batch_s=0.0)
    projector = await world.stored()
    deliveries = [
        world.delivery_of(await world.append("a", name=f"account-{number}")) for number in range(4)
    ]
    commits = _commits(projector)

    await asyncio.gather(*(projector.deliver(delivery) for delivery in deliveries))

    assert len(commits) == 4


@pytest.mark.spec("PROJ-4", "PROJ-18")
async def test_a_read_store_that_can_not_be_written_gives_nothing_up(world) -> None:
    """The error says that it is the environment's, so a delivery is no dead letter for it."""
    cls = world.rows_class(world.store)
    projector = await world.stored(cls)
    deliveries = [
        world.delivery_of(await world.append("a", name=name)) for name in ("alice", "bob")
    ]
    model = projector._target._model
    pages = model.db.execute("PRAGMA page_count").fetchone()[0]
    model.db.execute(f"PRAGMA max_page_count = {pages}")
    big = world.delivery_of(await world.append("x" * 100_000, name="carol"))

    failed = await asyncio.gather(
        *(projector.deliver(delivery) for delivery in (big, *deliveries)), return_exceptions=True
    )
    model.db.execute("PRAGMA max_page_count = 1000000")
    for delivery in (big, *deliveries):
        await projector.deliver(delivery)

    assert isinstance(failed[0], ReadStoreUnavailable)
    assert sorted(text[:1] for _, text in world.rows()) == ["a", "a", "x"]


@pytest.mark.spec("PROJ-6")
async def test_a_new_projector_starts_at_the_logs_beginning(world) -> None:
    await world.append("a")
    projector = await world.stored()

    await world.feed(projector)

    assert world.rows() == [(0, "a")]


@pytest.mark.spec("PROJ-6")
async def test_a_known_one_goes_on_from_its_cursor(world) -> None:
    await world.append("a")
    projector = await world.stored()
    await world.feed(projector)
    await projector.close()
    await world.append("b")

    projector = await world.stored()
    feeder = await world.feed(projector)

    assert [delivery.first for delivery in feeder.delivered] == [1]
    assert world.rows() == [(0, "a"), (1, "b")]


@pytest.mark.spec("PROJ-6", "PROJ-4")
async def test_a_deleted_file_is_filled_from_the_beginning(world) -> None:
    await world.append("a")
    projector = await world.stored()
    await world.feed(projector)
    await projector.close()
    world.store.path.unlink()

    projector = await world.stored()
    await world.feed(projector)

    assert world.rows() == [(0, "a")]


@pytest.mark.spec("PROJ-6", "PROJ-4")
async def test_transactions_that_a_machines_crash_took_are_delivered_again(world) -> None:
    """The consumer's cursor may be ahead of what the file kept."""
    world.options = ProjectorOptions(cursor_s=0.0)
    projector = await world.stored()
    await world.append("a")
    await world.feed(projector)
    await world.append("b")
    await world.feed(projector)
    copy = world.folder / "kept.sqlite"
    await projector.close()
    shutil.copy(world.store.path, copy)
    projector = await world.stored()
    await world.append("c")
    await world.append("x", name="bob")
    await world.feed(projector)
    await projector.close()

    shutil.copy(copy, world.store.path)
    projector = await world.stored()
    await world.feed(projector)

    assert world.rows() == [(0, "a"), (1, "b"), (2, "c"), (0, "x")]


@pytest.mark.spec("PROJ-6", "PROJ-4")
async def test_the_cursor_in_the_file_is_never_ahead_of_its_rows(world) -> None:
    """It is copied from what is finished, and not from what is delivered."""
    world.options = ProjectorOptions(cursor_s=0.0)
    projector = await world.stored()
    for number in range(3):
        delivery = world.delivery_of(await world.append(str(number)), number + 1)
        await projector.deliver(delivery)
        assert (_cursor(world) or 0) == (number if number else 0)
        await world.stores.positions.put_cursor(projector.consumer, number + 1)


def _cursor(world) -> int | None:
    with sqlite3.connect(world.store.path) as db:
        found = db.execute("SELECT cursor FROM angzarr_read_model").fetchone()[0]
    db.close()
    return found


@pytest.mark.spec("PROJ-6")
async def test_the_cursor_is_copied_now_and_then(world, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    projector = await world.stored()
    await world.feed(projector)
    for number in range(3):
        await world.append(str(number))
        await world.feed(projector)
    early = _cursor(world)

    now_s += 1.0
    await world.append("3")
    await world.feed(projector)

    assert (early, _cursor(world)) == (None, 3)


@pytest.mark.spec("PROJ-6")
async def test_the_cursor_is_copied_at_the_end(world) -> None:
    projector = await world.stored()
    await world.append("a")
    await world.append("b")
    await world.feed(projector)

    await projector.close()

    assert _cursor(world) == 2


@pytest.mark.spec("PROJ-6")
async def test_a_file_that_is_ahead_moves_the_consumers_cursor(world) -> None:
    """As after it was built by another process."""
    projector = await world.stored()
    await world.append("a")
    await world.append("b")
    await world.feed(projector)
    await projector.close()
    await world.stores.positions.reset(projector.consumer)

    projector = await world.stored()

    assert await world.stores.positions.cursor(projector.consumer) == 2


@pytest.mark.spec("PROJ-4", "DEP-14")
async def test_opening_takes_nothing_back_from_the_process_that_leads(world) -> None:
    """Once the cursor was set to that of the file, which is a second late, by a process that only
    stood by: the leading one did not know, and left it there."""
    leading = await world.stored()
    await world.append("a")
    await world.feed(leading)
    assert _cursor(world) is None

    standing_by = await world.stored(leads=False)

    assert await world.stores.positions.cursor(standing_by.consumer) == 1


@pytest.mark.spec("PROJ-17", "PROJ-4")
async def test_a_read_model_that_was_switched_behind_its_back_is_caught_up(world) -> None:
    """A switch that broke off half-way has left one that lacks what the old one had."""
    world.options = ProjectorOptions(cursor_s=0.0)
    projector = await world.stored()
    await world.append("a")
    beside = await world.stored(world.rows_class(world.store), read_store=world.store.beside())
    await beside.read_log()
    await beside.close()
    await world.append("missed", name="bob")
    await world.append("b")
    await world.feed(projector)

    async def nothing(model: object, limit: object) -> None: ...

    await world.store.switch("rows", nothing)
    assert ("missed" in dict(map(reversed, world.rows()))) is False
    await world.append("c")
    await world.feed(projector)
    await projector._target._healing

    assert sorted(world.rows()) == [(0, "a"), (0, "missed"), (1, "b"), (2, "c")]
    await world.append("d")
    await world.feed(projector)
    await projector.close()
    assert _cursor(world) == 5


@pytest.mark.spec("PROJ-17")
async def test_a_failed_catch_up_after_a_switch_is_logged_and_tried_again(
    world, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    projector = await world.stored()
    target = projector._target

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("store", "gone")

    monkeypatch.setattr(target._rebuild, "catch_up", fail)
    with caplog.at_level(logging.WARNING):
        target._replaced()
        await target._healing
    monkeypatch.undo()
    target._replaced()
    await target._healing

    assert "catching up after a switch failed" in caplog.text


@pytest.mark.spec("PROJ-4", "DEP-14")
async def test_two_processes_in_a_takeover_write_each_event_once(world) -> None:
    first, second = await world.stored(), await world.stored(world.rows_class(world.store))
    deliveries = [world.delivery_of(await world.append(str(number))) for number in range(6)]

    async def feed(projector, some) -> None:
        for delivery in some:
            await projector.deliver(delivery)

    await asyncio.gather(feed(first, deliveries[:4]), feed(second, deliveries[2:]))

    assert sorted(world.rows()) == [(number, str(number)) for number in range(6)]


async def test_after_closing_nothing_is_applied(world) -> None:
    projector = await world.stored()
    delivery = world.delivery_of(await world.append("a"))
    await projector.close()
    await projector.close()

    with pytest.raises(StoreClosed):
        await projector.deliver(delivery)


async def test_closing_finishes_what_was_asked_for(world) -> None:
    projector = await world.stored()
    delivery = world.delivery_of(await world.append("a"))
    task = asyncio.ensure_future(projector.deliver(delivery))
    await asyncio.sleep(0)

    await projector.close()
    await task

    assert world.rows() == [(0, "a")]


async def test_a_caller_that_went_away_before_its_turn_changes_nothing(world) -> None:
    cls = world.rows_class(world.store)
    entered, goes_on = asyncio.Event(), asyncio.Event()

    async def gate(text: str) -> None:
        entered.set()
        await goes_on.wait()

    cls.gate = gate
    projector = await world.stored(cls)
    first = asyncio.ensure_future(projector.deliver(world.delivery_of(await world.append("first"))))
    second = asyncio.ensure_future(
        projector.deliver(world.delivery_of(await world.append("second", name="bob")))
    )
    await entered.wait()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    goes_on.set()
    await first
    await projector.close()

    assert world.rows() == [(0, "first")]


@pytest.mark.spec("PROJ-14")
async def test_as_many_books_are_on_their_way_as_fit_a_transaction(world) -> None:
    assert (await world.stored()).concurrency == 256

    world.options = ProjectorOptions(concurrency=1)
    world.store = world.store.at(world.folder / "ordered.sqlite")
    assert (await world.stored()).concurrency == 1


@pytest.mark.spec("PROJ-14")
async def test_a_projector_without_read_store_handles_streams_side_by_side(world) -> None:
    recorder = world.Recorder()
    goes_on = asyncio.Event()
    recorder.gate = goes_on.wait
    projector = await world.plain(recorder)
    deliveries = [
        world.delivery_of(await world.append("a", name=f"account-{number}")) for number in range(16)
    ]

    tasks = [asyncio.ensure_future(projector.deliver(delivery)) for delivery in deliveries]
    for _ in range(10):
        await asyncio.sleep(0)

    assert len(recorder.books) == projector.concurrency == 16
    goes_on.set()
    await asyncio.gather(*tasks)
