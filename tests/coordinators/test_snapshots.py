"""Snapshots on the command side (SNAP-1 to SNAP-5, SNAP-7, SNAP-9, SNAP-11; COMPAT-4)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import CommandOptions, SnapshotOptions
from angzarr.errors import InvalidInput, RemoteError


def _with_snapshot(world, *texts, retention=0, sequence=0, **state):
    answer = world.business(*texts)
    answer.events.snapshot.state.CopyFrom(world.state_any(**(state or {"a": "1"})))
    answer.events.snapshot.retention = retention
    answer.events.snapshot.sequence = sequence
    return answer


async def _kept(world, **cover):
    data = await world.stores.snapshots.get(world.cover(**cover))
    return None if data is None else wire.Snapshot.FromString(data)


@pytest.mark.spec("SNAP-1", "SNAP-2", "SNAP-3")
async def test_a_returned_snapshot_is_stored_at_the_last_new_page(world):
    await world.send("a=1")
    world.handler.answer = _with_snapshot(
        world, "b=1", "c=1", retention=wire.RETENTION_PERSIST, sequence=77
    )

    response = await world.send("x", at=1)

    kept = await _kept(world)
    assert (kept.sequence, kept.retention) == (2, wire.RETENTION_PERSIST)
    assert response.events.snapshot == kept


@pytest.mark.spec("SNAP-3")
async def test_an_unchanged_snapshot_is_not_new(world):
    world.handler.answer = _with_snapshot(world, "a=1")
    await world.send("x")
    world.handler.answer = _with_snapshot(world, "b=1")

    response = await world.send("x", at=1)

    assert not response.events.HasField("snapshot")
    assert (await _kept(world)).sequence == 0


@pytest.mark.spec("SNAP-3", "CMD-35")
async def test_a_changed_snapshot_without_pages_is_stored_at_the_head(world):
    await world.send("a=1", "b=1")
    world.handler.answer = _with_snapshot(world)

    response = await world.send("x", at=2)

    assert (await _kept(world)).sequence == 1
    assert response.events.snapshot.sequence == 1
    assert len(await world.log()) == 1


@pytest.mark.spec("SNAP-3")
async def test_a_snapshot_of_a_stream_without_pages_is_dropped(world):
    world.handler.answer = _with_snapshot(world)

    await world.send("x")

    assert await _kept(world) is None


@pytest.mark.spec("SNAP-3", "WIRE-2")
async def test_an_unknown_retention_is_default(world):
    world.handler.answer = _with_snapshot(world, "a=1", retention=42)

    await world.send("x")

    assert (await _kept(world)).retention == wire.RETENTION_DEFAULT


@pytest.mark.spec("SNAP-5")
async def test_no_snapshot_is_written_inside_a_cascade(world):
    world.handler.answer = _with_snapshot(world, "a=1")

    response = await world.send("x", cascade_id="cascade")

    assert await _kept(world) is None
    assert not response.events.HasField("snapshot")
    assert len(await world.values()) == 1


@pytest.mark.spec("SNAP-5")
async def test_no_snapshot_is_written_over_a_pending_page(world):
    await world.send("a=1", cascade_id="cascade")
    world.handler.answer = _with_snapshot(world, "b=1")

    response = await world.send("x", at=1)

    assert await _kept(world) is None
    assert not response.events.HasField("snapshot")


@pytest.mark.spec("SNAP-7")
async def test_a_snapshot_is_taken_when_the_stream_has_grown_enough(world):
    world.coordinate(CommandOptions(snapshots=SnapshotOptions(every=3)))
    await world.send("a=1", "b=1")
    await world.commands.close()
    early = await _kept(world)

    await world.send("c=1", at=2)
    await world.commands.close()
    taken = await _kept(world)
    await world.send("d=1", at=3)
    await world.commands.close()

    assert early is None
    assert (taken.sequence, taken.retention) == (2, wire.RETENTION_DEFAULT)
    assert taken.state == world.state_any(a="1", b="1", c="1")
    assert (await _kept(world)).sequence == 2


@pytest.mark.spec("SNAP-7")
async def test_the_rule_of_a_domain_goes_before_the_general_one(world):
    options = CommandOptions(
        snapshots=SnapshotOptions(every=1),
        domain_snapshots={"account": SnapshotOptions(every=0)},
    )
    world.coordinate(options)

    await world.send("a=1")
    await world.commands.close()

    assert await _kept(world) is None


@pytest.mark.spec("SNAP-7")
async def test_a_failing_snapshot_fails_no_command(world):
    world.coordinate(CommandOptions(snapshots=SnapshotOptions(every=1)))
    world.no_replay()

    await world.send("a=1")
    await world.commands.close()

    assert await world.values() == ["a=1"]
    assert await _kept(world) is None


@pytest.mark.spec("SNAP-7", "SNAP-5")
async def test_no_snapshot_is_taken_over_a_pending_page(world):
    world.coordinate(CommandOptions(snapshots=SnapshotOptions(every=1)))
    await world.send("a=1", cascade_id="cascade")

    await world.send("b=1", at=1)
    await world.commands.close()

    assert await _kept(world) is None


async def _undecided_below_a_branch(world):
    """Main with page 0, and page 1 in a cascade; a branch that has both, and follows them."""
    await world.stores.editions.declare("outer")
    await world.stores.editions.declare("inner", parent="outer")
    await world.send("a=1")
    await world.send("b=1", at=1, cascade_id="cascade")


@pytest.mark.spec("SNAP-5", "EDN-11", "EDN-22")
@pytest.mark.parametrize("edition", ["outer", "inner"])
async def test_no_snapshot_is_taken_over_an_inherited_pending_page(world, edition):
    """It would miss the page on the branch for ever once the cascade is committed."""
    world.coordinate(CommandOptions(snapshots=SnapshotOptions(every=1)))
    await _undecided_below_a_branch(world)

    await world.send("c=1", at=2, edition=edition, divergence=2)
    await world.commands.close()
    early = await _kept(world, edition=edition)
    await world.events.decide_cascade("cascade", "COMMIT")
    await world.send("d=1", at=3, edition=edition)
    await world.commands.close()

    assert early is None
    kept = await _kept(world, edition=edition)
    assert kept.state == world.state_any(a="1", b="1", c="1", d="1")


@pytest.mark.spec("SNAP-5", "EDN-11", "EDN-22")
@pytest.mark.parametrize("edition", ["outer", "inner"])
async def test_no_returned_snapshot_is_stored_over_an_inherited_pending_page(world, edition):
    await _undecided_below_a_branch(world)
    world.handler.answer = _with_snapshot(world, "c=1")

    response = await world.send("x", at=2, edition=edition, divergence=2)

    assert await _kept(world, edition=edition) is None
    assert not response.events.HasField("snapshot")


@pytest.mark.spec("SNAP-11")
@pytest.mark.parametrize("edition", ["", "what-if"])
async def test_a_state_in_the_past_starts_from_the_newest_snapshot_below_it(world, edition):
    await world.send("a=1", "b=1", "c=1", "d=1")
    for sequence, fields in ((0, {"a": "1"}), (2, {"a": "1", "b": "1", "c": "1"})):
        snapshot = wire.Snapshot(sequence=sequence, state=world.state_any(**fields))
        snapshot.retention = wire.RETENTION_PERSIST
        await world.stores.snapshots.put(world.cover(), snapshot.SerializeToString())
    found = []
    for last in range(4):
        query = wire.Query(temporal=wire.TemporalQuery(as_of_sequence=last))
        world.fill(query.cover, edition=edition)
        answer = await world.commands.get_state(query.SerializeToString(), world.context)
        state = wire.StateResponse.FromString(answer)
        base = world.handler.replayed[-1].base_snapshot.sequence
        found.append((state.state.value.decode(), state.next_sequence, base))

    assert found == [
        ("a=1", 1, 0),
        ("a=1;b=1", 2, 0),
        ("a=1;b=1;c=1", 3, 2),
        ("a=1;b=1;c=1;d=1", 4, 2),
    ]


@pytest.mark.spec("SNAP-11", "SPEC-2")
async def test_speculation_in_the_past_starts_from_a_snapshot_below_it(world):
    await world.send("a=1", "b=1", "c=1")
    snapshot = wire.Snapshot(sequence=0, state=world.state_any(a="1"))
    await world.stores.snapshots.put(world.cover(), snapshot.SerializeToString())

    response = await world.speculate("x=1", point=wire.TemporalQuery(as_of_sequence=1))

    seen = world.handler.seen[-1].events
    assert (seen.snapshot.sequence, [p.header.sequence for p in seen.pages]) == (0, [1])
    assert [page.header.sequence for page in response.events.pages] == [2]


@pytest.mark.spec("SNAP-11")
async def test_a_state_in_the_past_starts_from_no_snapshot_taken_since(world):
    await world.send("a=1")
    time_ns = world.clock.now_ns()
    world.clock.advance(1)
    world.handler.answer = _with_snapshot(world, "b=1", a="1", b="1")
    await world.send("x", at=1)
    point = wire.TemporalQuery()
    point.as_of_time.FromNanoseconds(time_ns)
    for temporal in (point, wire.TemporalQuery(as_of_sequence=0)):
        query = wire.Query(temporal=temporal)
        world.fill(query.cover)
        answer = await world.commands.get_state(query.SerializeToString(), world.context)

        assert wire.StateResponse.FromString(answer).state == world.state_any(a="1")


@pytest.mark.spec("SNAP-9")
async def test_snapshots_are_not_read_where_that_is_off(world):
    world.coordinate(CommandOptions(snapshots=SnapshotOptions(read=False)))
    world.handler.answer = _with_snapshot(world, "a=1")
    await world.send("x")

    await world.send("x", at=1)

    assert not world.handler.seen[-1].events.HasField("snapshot")
    assert len(world.handler.seen[-1].events.pages) == 1


@pytest.mark.spec("SNAP-9")
async def test_snapshots_are_not_written_where_that_is_off(world):
    world.coordinate(CommandOptions(snapshots=SnapshotOptions(write=False)))
    world.handler.answer = _with_snapshot(world, "a=1")

    await world.send("x")

    assert await _kept(world) is None


async def _remote(world, options=None):
    """A remote handler on a stream that has a snapshot which it did not make."""
    world.handler.answer = _with_snapshot(world, "a=1")
    await world.send("x")
    world.handler = world.Fields(is_local=False)
    world.coordinate(options)


@pytest.mark.spec("COMPAT-4", "SNAP-9")
async def test_a_remote_handler_is_sent_the_full_history(world):
    await _remote(world)

    await world.send("b=1", at=1)

    asked = world.handler.seen[-1].events
    assert not asked.HasField("snapshot")
    assert len(asked.pages) == 1


@pytest.mark.spec("COMPAT-4", "SNAP-9")
async def test_a_remote_handler_that_makes_snapshots_is_sent_them(world):
    await _remote(world)
    world.handler.answer = _with_snapshot(world, "b=1", a="1", b="1")
    await world.send("x", at=1)

    await world.send("x", at=2)

    assert world.handler.seen[-1].events.snapshot.sequence == 1


@pytest.mark.spec("SNAP-9")
async def test_a_remote_handler_that_accepts_snapshots_is_sent_them(world):
    await _remote(world, CommandOptions(accepts_snapshots=frozenset({"account"})))

    await world.send("b=1", at=1)

    assert world.handler.seen[-1].events.HasField("snapshot")


@pytest.mark.spec("SNAP-14")
async def test_what_a_remote_handler_makes_of_a_snapshot_is_its_own_error(world):
    await _remote(world, CommandOptions(accepts_snapshots=frozenset({"account"})))
    world.handler.answer = RemoteError("DATA_LOSS", "corrupt data at the snapshot")

    with pytest.raises(RemoteError, match="corrupt data"):
        await world.send("b=1", at=1)

    assert len(world.handler.seen) == 1


@pytest.mark.spec("SNAP-9")
def test_snapshots_of_a_remote_handler_that_does_not_accept_them_stop_the_start(world):
    remote = {"account": world.Fields(is_local=False)}
    options = CommandOptions(snapshots=SnapshotOptions(every=10))

    with pytest.raises(InvalidInput, match="accepts_snapshots"):
        world.coordinate(options, handlers=remote)


@pytest.mark.spec("SNAP-11", "QRY-5")
async def test_speculation_in_the_past_ignores_later_snapshots(world):
    await world.send("a=1")
    world.handler.answer = _with_snapshot(world, "a=2", a="2")
    await world.send("x", at=1)
    world.handler.answer = None

    await world.speculate("b=1", point=wire.TemporalQuery(as_of_sequence=0))

    asked = world.handler.seen[-1].events
    assert not asked.HasField("snapshot")
    assert [page.event.value for page in asked.pages] == [b"a=1"]
