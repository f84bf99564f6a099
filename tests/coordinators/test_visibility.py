"""The visibility transform (CAS-5 to CAS-8)."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators.visibility import cascade_ids, transform
from angzarr.errors import CascadeDecided
from angzarr.testing.pages import page as encoded_page

FRAMEWORK = "type.angzarr.io/angzarr."


def _page(sequence, *, cascade_id="", committed=None):
    page = wire.EventPage.FromString(encoded_page(sequence, cascade_id=cascade_id))
    if committed is not None:
        page.committed = committed
    return page


def _marker(sequence, event):
    page = _page(sequence)
    page.cascade_id = event.cascade_id
    page.event.CopyFrom(
        Any(type_url=FRAMEWORK + event.DESCRIPTOR.name, value=event.SerializeToString())
    )
    return page


def _worked_example():
    return [
        _page(0),
        _page(1, cascade_id="A"),
        _page(2, cascade_id="B"),
        _marker(3, wire.Confirmation(sequences=[1], cascade_id="A")),
        _marker(4, wire.Revocation(sequences=[2], cascade_id="B", reason="r")),
        _page(5, cascade_id="C"),
        _page(6, committed=False),
    ]


def _read(page):
    """What a reader sees of a page: "event", or reason and cascade of a NoOp."""
    if page.event.type_url != FRAMEWORK + "NoOp":
        return "event"
    noop = wire.NoOp.FromString(page.event.value)
    assert noop.original_sequence == page.header.sequence
    return f"{noop.reason} ({noop.cascade_id})"


@pytest.mark.spec("CAS-5", "CAS-6", "CAS-7", "WIRE-8")
@pytest.mark.parametrize(
    ("own", "fifth"), [((), "uncommitted (C)"), (("C",), "event")], ids=["outside", "in C"]
)
def test_the_worked_example_reads_as_the_table_says(own, fifth):
    pages = _worked_example()

    transform(pages, {}, own=own)

    assert [_read(page) for page in pages] == [
        "event",
        "event",
        "revoked (B)",
        "framework_event ()",
        "framework_event ()",
        fifth,
        "event",
    ]
    assert [page.header.sequence for page in pages] == list(range(7))


@pytest.mark.spec("CAS-7")
def test_a_noop_keeps_header_and_time_and_is_committed():
    [page], [original] = [_page(5, cascade_id="C")], [_page(5, cascade_id="C")]

    transform([page], {})

    assert page.header == original.header
    assert page.created_at == original.created_at
    assert page.committed
    assert not page.HasField("cascade_id")


@pytest.mark.spec("CAS-6", "EDN-11")
@pytest.mark.parametrize(("outcome", "seen"), [("COMMIT", "event"), ("ROLLBACK", "revoked (C)")])
def test_the_decision_record_judges_pages_without_a_marker(outcome, seen):
    page = _page(5, cascade_id="C")

    transform([page], {"C": outcome})

    assert _read(page) == seen


@pytest.mark.spec("CAS-6")
def test_revoked_wins_over_confirmed_and_over_committed():
    both = [
        _page(0, cascade_id="A"),
        _marker(1, wire.Confirmation(sequences=[0], cascade_id="A")),
        _marker(2, wire.Revocation(sequences=[0], cascade_id="A")),
    ]
    committed = _page(0, cascade_id="A", committed=True)

    transform(both, {})
    transform([committed], {"A": "ROLLBACK"})

    assert _read(both[0]) == "revoked (A)"
    assert _read(committed) == "revoked (A)"


@pytest.mark.spec("CAS-6")
@pytest.mark.parametrize(("named", "seen"), [("", "event"), ("other", "uncommitted (A)")])
def test_a_marker_counts_for_its_cascade_or_for_any_if_it_names_none(named, seen):
    pages = [
        _page(0, cascade_id="A"),
        _marker(1, wire.Confirmation(sequences=[0], cascade_id=named)),
    ]

    transform(pages, {})

    assert _read(pages[0]) == seen


@pytest.mark.spec("WIRE-8")
def test_a_confirmed_page_reads_as_committed():
    page = _page(0, cascade_id="A")

    transform([page], {"A": "COMMIT"})

    assert page.committed


@pytest.mark.spec("CAS-5", "WIRE-6")
@pytest.mark.parametrize("prefix", ["type.angzarr.io/", "type.googleapis.com/", ""])
def test_a_framework_event_is_known_by_its_full_name(prefix):
    ours, theirs = _page(0), _page(1)
    ours.event.type_url = prefix + "angzarr.Compensate"
    theirs.event.type_url = prefix + "angzarr.shop.Bought"

    transform([ours, theirs], {})

    assert [_read(ours), _read(theirs)] == ["framework_event ()", "event"]


def test_only_cascades_of_users_pages_need_their_decision():
    assert cascade_ids(_worked_example()) == {"A", "B", "C"}
    assert cascade_ids(_worked_example()[3:5]) == set()


@pytest.mark.spec("CAS-8")
async def test_a_commands_handler_sees_what_others_left_undecided_as_noops(world):
    await world.send("a=1")
    await world.send("b=1", at=1, cascade_id="other")

    await world.send("c=1", at=2)

    assert [_read(page) for page in world.handler.seen[-1].events.pages] == [
        "event",
        "uncommitted (other)",
    ]


@pytest.mark.spec("CAS-5", "CAS-8")
async def test_a_commands_handler_sees_the_pending_pages_of_its_own_cascade(world):
    await world.send("a=1", cascade_id="mine")

    await world.send("b=1", at=1, cascade_id="mine")

    assert [_read(page) for page in world.handler.seen[-1].events.pages] == ["event"]


@pytest.mark.spec("CAS-6", "CAS-17")
async def test_a_decision_is_followed_before_its_markers_are_written(world):
    await world.send("a=1", cascade_id="one")
    await world.send("b=1", at=1, cascade_id="two")
    await world.events.decide_cascade("one", "COMMIT")
    await world.events.decide_cascade("two", "ROLLBACK")

    await world.send("c=1", at=2)

    seen = [_read(page) for page in world.handler.seen[-1].events.pages]
    assert seen == ["event", "revoked (two)"]


@pytest.mark.spec("EDN-11")
async def test_an_inherited_page_is_judged_by_a_decision_beyond_the_branch_point(world):
    await world.send("a=1", cascade_id="one")
    await world.send("b=1", at=1, edition="what-if")
    await world.events.decide_cascade("one", "COMMIT")
    await world.events.resolve_cascade(world.cover(), "one")

    await world.send("c=1", at=2, edition="what-if")

    seen = [_read(page) for page in world.handler.seen[-1].events.pages]
    assert seen == ["event", "event"]


@pytest.mark.spec("CAS-3")
@pytest.mark.parametrize(
    ("outcome", "message"),
    [("COMMIT", "Cascade one already committed"), ("ROLLBACK", "Cascade one rolled back: late")],
)
async def test_a_command_for_a_decided_cascade_is_refused(world, outcome, message):
    await world.send("a=1", cascade_id="one")
    await world.events.decide_cascade("one", outcome, "late")
    world.handler.seen.clear()

    with pytest.raises(CascadeDecided, match=f"^{message}$"):
        await world.send("b=1", at=1, cascade_id="one")

    assert world.handler.seen == []
    assert len(await world.values()) == 1


@pytest.mark.spec("CAS-3")
async def test_a_decision_that_comes_while_the_handler_runs_stops_the_append(world):
    await world.send("a=1", cascade_id="one")

    async def decide():
        await world.events.decide_cascade("one", "COMMIT")

    world.handler.gate = decide

    with pytest.raises(CascadeDecided):
        await world.send("b=1", at=1, cascade_id="one")

    assert len(await world.values()) == 1
