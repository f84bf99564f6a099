"""Replays: in place, at rest, and beside the read model that serves (PROJ-9, PROJ-17)."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from angzarr import Projector, Sqlite, projects
from angzarr.coordinators import rebuild
from angzarr.coordinators.projecting import Projecting
from angzarr.coordinators.rebuild import Rebuild
from angzarr.coordinators.replays import Beside, replay_at_rest, replay_in_place
from angzarr.errors import (
    AngzarrError,
    HandlerFailed,
    NotPermitted,
    ProjectorReplaying,
    StoreUnavailable,
)
from angzarr.handlers import LocalProjector
from angzarr.ports.event_store import LogEntry


async def filled(world, count: int = 3):
    """A projector whose read model holds `count` events."""
    projector = await world.stored()
    for number in range(count):
        await world.append(str(number))
    await world.feed(projector)
    return projector


def beside(world, **options: object) -> Beside:
    cls = world.rows_class(world.store)
    return Beside(LocalProjector(cls), world.store, world.events, **options)


def spoil(world) -> None:
    """Change a row behind the projector's back, as a defect that was mended since has."""
    with sqlite3.connect(world.store.path) as db:
        db.execute("UPDATE row SET text = 'wrong' WHERE sequence = 1")
    db.close()


@pytest.mark.spec("PROJ-9")
async def test_a_replay_in_place_deletes_rows_and_feeds_the_log_from_its_beginning(world) -> None:
    projector = await filled(world)
    spoil(world)
    feeder = world.feeder(projector)
    between: list[list[tuple[int, str]]] = []

    async def sleep(delay_s: float) -> None:
        between.append(world.rows())
        await feeder.run()
        feeder.position = 3

    await replay_in_place(projector, feeder, world.events, sleep=sleep)

    assert between == [[]]
    assert world.rows() == [(0, "0"), (1, "1"), (2, "2")]


@pytest.mark.spec("PROJ-9")
async def test_synchronous_requests_are_told_of_a_replay_until_it_is_over(world) -> None:
    projector = await filled(world)
    feeder = world.feeder(projector)
    book = await world.append("3")

    async def sleep(delay_s: float) -> None:
        with pytest.raises(ProjectorReplaying):
            await projector.project(book, world.context)
        await feeder.run()
        feeder.position = 4

    await replay_in_place(projector, feeder, world.events, sleep=sleep)

    await projector.project(await world.append("4"), world.context)
    assert len(world.rows()) == 5


@pytest.mark.spec("PROJ-9")
async def test_a_replay_tells_how_far_it_is(world) -> None:
    projector = await filled(world, 4)
    feeder = world.feeder(projector)
    told: list[tuple[int, int]] = []

    async def sleep(delay_s: float) -> None:
        feeder.position += 3

    await replay_in_place(
        projector, feeder, world.events, sleep=sleep, progress=lambda *at: told.append(at)
    )

    assert told == [(0, 4), (3, 4), (4, 4)]


@pytest.mark.spec("PROJ-9")
async def test_the_projectors_own_reset_is_called_in_the_transaction(world) -> None:
    class Kept(Projector, source="account", name="rows", read_store=world.store):
        @projects
        def happened(self, event: world.Happened, db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO row VALUES ('', 0, ?)", (event.text,))

        def reset(self, db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM row WHERE text <> 'kept'")

    projector = await world.stored(Kept)
    for text in ("kept", "gone"):
        await world.append(text)
    await world.feed(projector)

    await projector.begin_replay()

    assert [text for _, text in world.rows()] == ["kept"]


@pytest.mark.spec("PROJ-9")
async def test_a_reset_that_fails_leaves_everything_as_it_was(world) -> None:
    class Stubborn(Projector, source="account", name="rows", read_store=world.store):
        @projects
        def happened(self, event: world.Happened, db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO row VALUES ('', 0, ?)", (event.text,))

        def reset(self, db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM row")
            raise ValueError("no")

    projector = await world.stored(Stubborn)
    book = await world.append("a")
    await world.feed(projector)

    with pytest.raises(HandlerFailed, match="reset: ValueError: no"):
        await replay_in_place(projector, world.feeder(projector), world.events)
    await projector.project(book, world.context)  # which is not told of a replay

    assert [text for _, text in world.rows()] == ["a"]


@pytest.mark.spec("PROJ-9")
@pytest.mark.parametrize("has_reset", [False, True])
async def test_a_projector_that_keeps_its_rows_itself_is_reset_if_it_declares_that(
    world, has_reset: bool
) -> None:
    called: list[str] = []

    async def reset() -> None:
        called.append("reset")

    recorder = world.Recorder()
    projector = await world.plain(recorder, reset=reset if has_reset else None)
    await world.append("a")
    await world.feed(projector)
    feeder = world.feeder(projector)

    async def sleep(delay_s: float) -> None:
        await feeder.run()
        feeder.position = 1

    await replay_in_place(projector, feeder, world.events, sleep=sleep)

    assert called == (["reset"] if has_reset else [])
    assert recorder.sequences == [[0], [0]]


@pytest.mark.spec("PROJ-9")
async def test_a_crash_during_a_reset_does_not_lose_events(world) -> None:
    """The rows are gone, the consumer's cursor is not reset yet."""
    projector = await filled(world)
    await projector.begin_replay()
    await projector.close()

    projector = await world.stored()
    await world.feed(projector)

    assert len(world.rows()) == 3


@pytest.mark.spec("PROJ-9")
async def test_a_replay_that_broke_off_is_done_again(world) -> None:
    """The rows are deleted, and the consumer's cursor could not be reset."""
    projector = await filled(world)
    feeder = world.feeder(projector)
    real = feeder.reset

    async def reset(consumer: str, between=None) -> None:
        await between()
        raise StoreUnavailable("store", "gone")

    feeder.reset = reset
    with pytest.raises(StoreUnavailable):
        await replay_in_place(projector, feeder, world.events)
    with pytest.raises(ProjectorReplaying):
        await projector.project(await world.append("3"), world.context)
    feeder.reset = real

    async def sleep(delay_s: float) -> None:
        await feeder.run()
        feeder.position = 4

    await replay_in_place(projector, feeder, world.events, sleep=sleep)

    assert len(world.rows()) == 4
    assert await projector.project(await world.append("4"), world.context)


@pytest.mark.spec("PROJ-9")
@pytest.mark.parametrize("kind", ["plain", "stored"])
async def test_at_rest_the_log_is_read_here_and_now(world, kind: str) -> None:
    recorder = world.Recorder()
    projector = await (world.plain(recorder) if kind == "plain" else world.stored())
    for number in range(3):
        await world.append(str(number), name=f"account-{number}")
    await world.append("x", domain="order")
    await world.feed(projector)
    told: list[tuple[int, int]] = []

    await replay_at_rest(projector, world.stores, progress=lambda *at: told.append(at))

    if kind == "plain":
        assert recorder.sequences == [[0]] * 6
    else:
        assert len(world.rows()) == 3
    assert told[-1] == (4, 4)
    assert await world.stores.positions.cursor(projector.consumer) == 4
    assert (await world.feed(projector)).delivered == []


@pytest.mark.spec("PROJ-9", "DEP-14")
async def test_at_rest_is_refused_while_another_process_feeds_it(world) -> None:
    projector = await filled(world)
    await world.stores.positions.lease(projector.consumer, 0, "server", 15.0)

    with pytest.raises(NotPermitted, match="running server"):
        await replay_at_rest(projector, world.stores)

    assert len(world.rows()) == 3


@pytest.mark.spec("PROJ-9", "DEP-14")
async def test_at_rest_nobody_else_feeds_it(world) -> None:
    projector = await filled(world)
    leases: list[bool] = []
    real = projector.read_log

    async def read_log(progress: object = None) -> None:
        leases.append(await world.stores.positions.lease(projector.consumer, 0, "server", 15.0))
        await real()

    projector.read_log = read_log
    await replay_at_rest(projector, world.stores)

    assert leases == [False]
    assert await world.stores.positions.lease(projector.consumer, 0, "server", 15.0)


@pytest.mark.spec("PROJ-17")
async def test_a_new_read_model_is_built_while_the_old_one_serves(world) -> None:
    projector = await filled(world)
    spoil(world)

    rebuilt = await beside(world).build()
    await world.append("3")
    await world.feed(projector)

    assert (rebuilt.entry_count, rebuilt.position) == (3, 3)
    assert world.rows() == [(0, "0"), (1, "wrong"), (2, "2"), (3, "3")]
    assert world.rows(world.store.beside()) == [(0, "0"), (1, "1"), (2, "2")]


@pytest.mark.spec("PROJ-17")
async def test_a_build_begins_anew(world) -> None:
    await filled(world)
    await beside(world).build()

    await beside(world).build()

    assert len(world.rows(world.store.beside())) == 3


@pytest.mark.spec("PROJ-17")
async def test_both_are_compared_at_the_same_events(world) -> None:
    projector = await filled(world)
    spoil(world)
    work = beside(world)
    await work.build()
    await world.append("3")
    await world.feed(projector)
    await world.append("not delivered yet")

    found = await work.compare()

    (table,) = found.tables
    assert (table.old_count, table.new_count) == (4, 4)
    assert (table.old_only, table.new_only) == (1, 1)
    assert [row[2] for _, row in table.samples] == ["wrong", "1"]
    assert found.streams_ahead == 0


@pytest.mark.spec("PROJ-17")
async def test_a_comparison_does_not_move_the_new_ones_cursor(world) -> None:
    """Books were left out in it; they are fed later."""
    projector = await filled(world)
    work = beside(world)
    await work.build()
    await world.append("3")
    await world.append("4", name="bob")
    await projector.deliver(world.delivery_of(await world.entry(4)))

    await work.compare()
    await work.switch()

    assert sorted(world.rows()) == [(0, "0"), (0, "4"), (1, "1"), (2, "2"), (3, "3")]


@pytest.mark.spec("PROJ-17")
async def test_after_a_switch_the_server_goes_on_with_the_new_rows(world) -> None:
    projector = await filled(world)
    spoil(world)
    work = beside(world)
    await work.build()
    await world.append("3")
    await world.feed(projector)

    await work.switch()
    await world.append("4")
    await world.feed(projector)

    assert world.rows() == [(number, str(number)) for number in range(5)]
    assert not world.store.beside().path.exists()


@pytest.mark.spec("PROJ-17", "PROJ-4")
async def test_a_switch_under_load_loses_and_doubles_nothing(world) -> None:
    projector = await filled(world)
    work = beside(world)
    await work.build()
    is_over = asyncio.Event()

    async def load() -> None:
        number = 0
        while not is_over.is_set():
            await world.append("x", name=f"account-{number % 7}")
            await world.feed(projector)
            number += 1

    task = asyncio.ensure_future(load())
    await work.switch()
    is_over.set()
    await task

    streams = {
        root: await world.events.next_sequence(world.cover(f"account-{index}"))
        for index, root in enumerate(range(7))
    }
    assert len(world.rows()) == 3 + sum(streams.values())


@pytest.mark.spec("PROJ-17")
async def test_the_progress_of_a_build_is_told(world) -> None:
    await filled(world, 5)
    told: list[tuple[int, int]] = []

    await beside(world, progress=lambda *at: told.append(at)).build()

    assert told == [(5, 5)]


@pytest.mark.spec("PROJ-17")
async def test_an_event_that_the_projector_fails_on_stops_the_build(world) -> None:
    for text in ("a", "bad", "b"):
        await world.append(text)

    with pytest.raises(HandlerFailed, match="a bad event"):
        await beside(world).build()


@pytest.mark.spec("PROJ-17")
async def test_or_is_left_out_and_told(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "COMMIT_ENTRIES", 3)
    for text in ("a", "bad", "b", "bad", "c", "d", "bad"):
        await world.append(text)
    work = beside(world, passes_failures=True)

    rebuilt = await work.build()
    await work.switch()

    assert sorted(rebuilt.failures) == [2, 4, 7]
    assert "a bad event" in rebuilt.failures[2]
    assert world.rows() == [(0, "a"), (2, "b"), (4, "c"), (5, "d")]


@pytest.mark.spec("PROJ-17")
async def test_too_many_failures_are_no_exceptions(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "FAILURES_KEPT", 2)
    for _ in range(3):
        await world.append("bad")

    with pytest.raises(HandlerFailed):
        await beside(world, passes_failures=True).build()


@pytest.mark.spec("PROJ-17")
async def test_a_store_that_is_gone_is_no_failure_of_an_event(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.append("a")
    monkeypatch.setattr(world.events, "tail", _unavailable)

    with pytest.raises(StoreUnavailable):
        await beside(world, passes_failures=True).build()


async def _unavailable(*_: object, **__: object) -> None:
    raise StoreUnavailable("store", "gone")


async def test_a_book_that_does_not_parse_stops_a_build(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(world)
    tail = world.events.tail

    async def damaged(after: int, **options: object) -> list[LogEntry]:
        return [replace(entry, book=b"\xff") for entry in await tail(after, **options)]

    monkeypatch.setattr(world.events, "tail", damaged)

    with pytest.raises(AngzarrError, match="do not parse"):
        await beside(world).build()


@pytest.mark.spec("PROJ-17", "STO-14")
async def test_entries_of_deleted_editions_do_not_hold_a_build_up(world) -> None:
    await world.append("a")
    await world.append("gone", edition="whatif", divergence=0)
    await world.events.delete_edition("account", "whatif")

    rebuilt = await beside(world).build()

    assert rebuilt.position == await world.events.log_head() == 2
    assert world.rows(world.store.beside()) == [(0, "a")]


@pytest.mark.spec("PROJ-15", "PROJ-17")
async def test_a_build_hears_of_deleted_editions(world) -> None:
    cls = world.rows_class(world.store, editions="*")
    work = Beside(LocalProjector(cls), world.store, world.events)
    await world.append("old 0", "old 1", edition="whatif", divergence=0)
    await work.build()
    await world.events.delete_edition("account", "whatif")
    await world.append(pages=[_deleted(world)], domain="_angzarr")
    await world.append("new 0", edition="whatif", divergence=0)

    await work.switch()

    assert world.rows() == [(0, "old 0"), (1, "old 1"), (0, "new 0")]


def _deleted(world):
    from angzarr import wire
    from angzarr.coordinators import books

    page = world.page(0, "")
    books.pack_framework(page, wire.EditionEventsDeleted(edition="whatif", domain="account"))
    return page


@pytest.mark.spec("PROJ-17", "PROJ-6")
async def test_a_build_of_many_events_needs_many_transactions_and_reads(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "READ_COUNT", 4)
    monkeypatch.setattr(rebuild, "COMMIT_ENTRIES", 8)
    await filled(world, 30)
    told: list[tuple[int, int]] = []

    rebuilt = await beside(world, progress=lambda *at: told.append(at)).build()

    assert [done for done, _ in told] == [8, 16, 24, 30]
    assert rebuilt.entry_count == 30
    assert len(world.rows(world.store.beside())) == 30


@pytest.mark.spec("PROJ-17")
async def test_a_build_gives_others_a_turn(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "SLICE_S", 0.0)
    await filled(world, 20)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(count())
    await beside(world).build()
    task.cancel()

    assert turns >= 20


@pytest.mark.spec("PROJ-4", "PROJ-17")
async def test_a_build_that_was_interrupted_goes_on_from_its_cursor(world) -> None:
    cls = world.rows_class(world.store)
    local = LocalProjector(cls)
    for text in ("a", "b"):
        await world.append(text)
    work = Rebuild(local, Projecting(world.events, {}, world.options), world.events)
    model = await Sqlite(world.store.path, world.store.schema).open("rows")
    await work.catch_up(model)
    await world.append("c")

    rebuilt = await work.catch_up(model)

    assert rebuilt.entry_count == 1
    assert world.rows() == [(0, "a"), (1, "b"), (2, "c")]
    await model.close()
