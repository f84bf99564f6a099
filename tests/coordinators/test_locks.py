"""What undecided cascades lock (CAS-20 to CAS-22, of which the strategy `reject` exists)."""

from __future__ import annotations

import pytest

from angzarr.cover import REJECTION
from angzarr.errors import CascadeConflict


@pytest.mark.spec("CAS-20", "CAS-21", "CAS-22")
async def test_a_change_of_a_locked_field_is_refused_and_writes_nothing(world):
    await world.send("a=1", "b=1", "c=1")
    await world.send("a=2", "b=2", at=3, cascade_id="X")

    with pytest.raises(CascadeConflict) as refused:
        await world.send("b=3", "a=3", at=5)

    assert str(refused.value) == "Cascade conflict: fields {a, b} locked by cascades [X]"
    assert refused.value.cascade_ids == ("X",)
    assert refused.value.fields == ("a", "b")
    assert len(await world.values()) == 5


@pytest.mark.spec("CAS-21")
async def test_all_holders_are_named_in_order(world):
    await world.send("a=1", cascade_id="Y")
    await world.send("b=1", at=1, cascade_id="X")

    with pytest.raises(CascadeConflict, match=r"fields \{a\} locked by cascades \[X, Y\]"):
        await world.send("a=2", at=2)


@pytest.mark.spec("CAS-21")
async def test_disjoint_changes_proceed(world):
    await world.send("a=1", "b=1")
    await world.send("a=2", at=2, cascade_id="X")

    await world.send("b=2", at=3)
    await world.send("c=2", at=4, cascade_id="Y")

    assert len(await world.values()) == 5


@pytest.mark.spec("CAS-20")
async def test_a_cascade_does_not_lock_itself_out(world):
    await world.send("a=1", cascade_id="X")

    await world.send("a=2", at=1, cascade_id="X")

    assert len(await world.values()) == 2


@pytest.mark.spec("CAS-20")
@pytest.mark.parametrize("outcome", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("has_marker", [True, False])
async def test_decided_pages_and_markers_lock_nothing(world, outcome, has_marker):
    await world.send("a=1", cascade_id="X")
    await world.events.decide_cascade("X", outcome)
    if has_marker:
        await world.events.resolve_cascade(world.cover(), "X")

    await world.send("a=2", at=2 if has_marker else 1)

    assert (await world.values())[-1] == "a=2"


@pytest.mark.spec("CAS-20")
async def test_without_replay_the_whole_stream_is_locked(world):
    await world.send("a=1", cascade_id="X")
    world.no_replay()

    with pytest.raises(CascadeConflict, match=r"fields \{\*\} locked by cascades \[X\]"):
        await world.send("b=1", at=1)


@pytest.mark.spec("CAS-20")
async def test_a_command_without_events_meets_no_lock(world):
    await world.send("a=1", cascade_id="X")
    world.handler.answer = world.business()

    await world.send("x", at=1)

    assert len(await world.values()) == 1


@pytest.mark.spec("CAS-20", "CMD-41")
async def test_compensations_meet_the_locks_too(world):
    await world.send("a=1", cascade_id="X")

    with pytest.raises(CascadeConflict):
        await world.compensate(world.book("a=2"), world.origin(kind=REJECTION))
