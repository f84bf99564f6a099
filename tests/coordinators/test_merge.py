"""Stamps and merge strategies (CMD-12 to CMD-23)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import CommandOptions, merge
from angzarr.errors import (
    CorruptData,
    DivergenceConflict,
    HandlerFailed,
    InvalidDivergence,
    SequenceMismatch,
    StoreUnavailable,
)

STRATEGIES = [
    wire.MERGE_COMMUTATIVE,
    wire.MERGE_STRICT,
    wire.MERGE_AGGREGATE_HANDLES,
    wire.MERGE_MANUAL,
]


async def _five_pages(world) -> None:
    """hp and gold set by 0 to 2, gold by 3 and 4: the example of CMD-20."""
    await world.send("hp=1", "gold=1", "hp=2", "gold=2", "gold=3")


@pytest.mark.spec("CMD-12")
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_the_right_stamp_passes_under_every_strategy(world, strategy):
    await world.send("a=1")

    response = await world.send("b=1", at=1, strategy=strategy)

    assert response.events.pages[0].header.sequence == 1


@pytest.mark.spec("CMD-12")
@pytest.mark.parametrize("at", [0, 1, 3])
async def test_lower_and_higher_stamps_are_mismatches(world, at):
    await world.send("a=1", "b=1")

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("c=1", at=at)

    assert (refused.value.expected, refused.value.actual) == (at, 2)


@pytest.mark.spec("CMD-12")
async def test_no_header_counts_as_zero(world):
    await world.send("a=1", at=None)

    with pytest.raises(SequenceMismatch, match="command expects 0, aggregate at 1"):
        await world.send("a=1", at=None)


@pytest.mark.spec("CMD-13")
async def test_the_first_pages_strategy_counts(world):
    await world.send("a=1")
    book = world.book("b=1", "c=1", at=7, strategy=wire.MERGE_AGGREGATE_HANDLES)
    book.pages[1].merge_strategy = wire.MERGE_STRICT

    assert len((await world.send(book=book)).events.pages) == 2


@pytest.mark.spec("CMD-13")
async def test_a_book_without_pages_is_commutative(world):
    await world.send("a=1")
    world.handler.answer = world.business("b=1")

    await world.send()

    assert await world.values() == ["a=1", "b=1"]


@pytest.mark.spec("CMD-13", "WIRE-2")
async def test_an_unknown_strategy_is_commutative(world):
    await world.send("a=1")

    await world.send("b=1", at=0, strategy=42)

    assert await world.values() == ["a=1", "b=1"]


@pytest.mark.spec("CMD-14")
async def test_a_strict_mismatch_tells_both_numbers_and_the_book(world):
    await world.send("a=1")
    world.handler.seen.clear()

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("b=1", at=0)

    assert str(refused.value) == "Sequence mismatch: command expects 0, aggregate at 1"
    book = wire.EventBook.FromString(refused.value.book)
    assert [page.event.value for page in book.pages] == [b"a=1"]
    assert book.next_sequence == 1
    assert world.handler.seen == []


@pytest.mark.spec("CMD-15", "CMD-20")
async def test_disjoint_changes_are_appended_at_the_head(world):
    await _five_pages(world)

    response = await world.send("hp=9", at=3, strategy=wire.MERGE_COMMUTATIVE)

    assert response.events.pages[0].header.sequence == 5
    assert world.handler.seen[-1].events.next_sequence == 5


@pytest.mark.spec("CMD-15", "CMD-20")
async def test_overlapping_changes_are_refused_with_the_fields_and_the_book(world):
    await _five_pages(world)

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("gold=9", at=3, strategy=wire.MERGE_COMMUTATIVE)

    assert str(refused.value) == (
        "Sequence mismatch with overlapping fields: command expects 3, aggregate at 5"
    )
    assert refused.value.fields == ("gold",)
    assert wire.EventBook.FromString(refused.value.book).next_sequence == 5
    assert len(await world.values()) == 5


@pytest.mark.spec("CMD-15", "COMPAT-12")
@pytest.mark.parametrize("trouble", ["no replay", "a failing replay", "no state"])
async def test_without_a_state_commutative_behaves_like_strict(world, trouble):
    await _five_pages(world)
    if trouble == "no replay":
        world.no_replay()
    elif trouble == "a failing replay":
        world.handler.replay_answer = HandlerFailed("aggregate:account", "boom")
    else:
        world.handler.replay_answer = wire.ReplayResponse()

    with pytest.raises(SequenceMismatch, match=r"^Sequence mismatch: command expects 3") as refused:
        await world.send("hp=9", at=3, strategy=wire.MERGE_COMMUTATIVE)

    assert refused.value.fields == ()
    assert len(await world.values()) == 5


@pytest.mark.spec("CMD-16")
async def test_a_stamp_ahead_of_the_stream_is_refused_as_under_strict(world):
    await world.send("a=1")
    world.handler.seen.clear()

    with pytest.raises(SequenceMismatch, match=r"^Sequence mismatch: command expects 2"):
        await world.send("b=1", at=2, strategy=wire.MERGE_COMMUTATIVE)

    assert world.handler.seen == []


@pytest.mark.spec("CMD-17")
@pytest.mark.parametrize("at", [0, 9])
async def test_an_aggregate_that_handles_it_sees_the_command_as_sent(world, at):
    await world.send("a=1")

    await world.send("a=2", at=at, strategy=wire.MERGE_AGGREGATE_HANDLES)

    asked = world.handler.seen[-1]
    assert asked.command.pages[0].header.sequence == at
    assert asked.events.next_sequence == 1
    assert await world.values() == ["a=1", "a=2"]


@pytest.mark.spec("CMD-18", "DLQ-2")
async def test_a_manual_mismatch_is_parked_for_a_person(world):
    await world.send("a=1")
    world.handler.seen.clear()

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("b=1", at=0, strategy=wire.MERGE_MANUAL, correlation_id="c-1")

    assert str(refused.value) == (
        "Sequence mismatch: command expects 0, aggregate at 1. Sent to DLQ for manual review."
    )
    assert refused.value.is_parked
    assert wire.EventBook.FromString(refused.value.book).next_sequence == 1
    [letter] = await world.letters()
    assert letter.rejection_reason == "Sequence mismatch: command expects 0, aggregate at 1"
    assert letter.rejected_command.pages[0].command.value == b"b=1"
    assert letter.cover.correlation_id == "c-1"
    assert letter.sequence_mismatch == wire.SequenceMismatchDetails(
        expected_sequence=0, actual_sequence=1, merge_strategy=wire.MERGE_MANUAL
    )
    assert letter.source_component == "aggregate:account"
    assert letter.source_component_type == "aggregate"
    assert letter.occurred_at.seconds * 10**9 == world.clock.now_ns()
    assert world.handler.seen == []


@pytest.mark.spec("CMD-18", "DLQ-5")
@pytest.mark.parametrize(
    "error", [StoreUnavailable("dlq", "full"), CorruptData("dlq", "dust", "letters")]
)
async def test_a_manual_mismatch_that_cannot_be_parked_is_unavailable(world, error):
    await world.send("a=1")
    world.stores.dead_letters.faults["put"] = error

    with pytest.raises(StoreUnavailable):
        await world.send("b=1", at=0, strategy=wire.MERGE_MANUAL)


@pytest.mark.spec("CMD-19", "COMPAT-19")
async def test_a_long_book_is_cut_to_cover_and_next_sequence(world):
    world.coordinate(CommandOptions(max_error_detail_bytes=200))
    await world.send("a=1", "b=1", "c=1", "d=1")

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("e=1", at=0)

    book = wire.EventBook.FromString(refused.value.book)
    assert (len(book.pages), book.next_sequence) == (0, 4)
    assert (book.cover.domain, book.cover.root.value) == ("account", world.ROOT)


@pytest.mark.spec("CMD-19")
async def test_the_detail_shows_snapshot_and_transformed_pages(world):
    response = world.business("a=1")
    response.events.snapshot.state.CopyFrom(world.state_any(a="1"))
    world.handler.answer = response
    await world.send("x")
    world.handler.answer = None
    await world.send("b=1", at=1, cascade_id="cascade")

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("c=1", at=0)

    book = wire.EventBook.FromString(refused.value.book)
    assert book.snapshot.sequence == 0
    assert [page.event.type_url for page in book.pages] == [world.FRAMEWORK + "NoOp"]


@pytest.mark.spec("CMD-20")
async def test_a_newer_snapshot_is_no_base_for_the_earlier_state(world):
    await world.send("hp=1", "gold=1", "hp=2", "gold=2")
    response = world.business("gold=3")
    response.events.snapshot.state.CopyFrom(world.state_any(hp="2", gold="3"))
    world.handler.answer = response
    await world.send("x", at=4)
    world.handler.answer = None

    await world.send("hp=9", at=3, strategy=wire.MERGE_COMMUTATIVE)

    assert (await world.values())[-1] == "hp=9"
    full = [r for r in world.handler.replayed if not r.HasField("base_snapshot")]
    assert [[p.header.sequence for p in request.events] for request in full] == [[0, 1, 2]]
    with pytest.raises(SequenceMismatch, match="overlapping fields"):
        await world.send("gold=9", at=3, strategy=wire.MERGE_COMMUTATIVE)


@pytest.mark.spec("CMD-20", "SNAP-8")
async def test_an_older_snapshot_is_a_base_for_the_earlier_state(world):
    for text, state in (("hp=1", {"hp": "1"}), ("hp=2", {"hp": "2"})):
        response = world.business(text, "gold=1")
        response.events.snapshot.state.CopyFrom(world.state_any(gold="1", **state))
        response.events.snapshot.retention = wire.RETENTION_PERSIST
        world.handler.answer = response
        await world.send("x", strategy=wire.MERGE_AGGREGATE_HANDLES)
    world.handler.answer = None

    await world.send("gold=9", at=3, strategy=wire.MERGE_COMMUTATIVE)

    bases = [(r.base_snapshot.sequence, len(r.events)) for r in world.handler.replayed]
    assert (1, 1) in bases
    assert (await world.values())[-1] == "gold=9"


@pytest.mark.spec("CMD-20")
@pytest.mark.parametrize(
    ("theirs", "mine", "fields"),
    [
        ({"a"}, {"b"}, set()),
        ({"a", "b"}, {"b", "c"}, {"b"}),
        ({"*"}, set(), {"*"}),
        ({"*"}, {"a"}, {"a"}),
        (set(), {"*"}, {"*"}),
        (set(), set(), set()),
        ({"m[x]"}, {"m[y]"}, set()),
    ],
)
def test_changes_overlap_if_they_share_a_field_or_one_is_unknown(theirs, mine, fields):
    assert merge.overlap(frozenset(theirs), frozenset(mine)) == fields


@pytest.mark.spec("CMD-21", "CMD-22")
async def test_states_come_from_the_handlers_port_and_are_compared_by_it(world):
    await _five_pages(world)
    world.handler.diff = lambda before, after: frozenset({"*"})

    with pytest.raises(SequenceMismatch, match="overlapping fields") as refused:
        await world.send("hp=9", at=3, strategy=wire.MERGE_COMMUTATIVE)

    assert refused.value.fields == ("*",)
    assert len(world.handler.replayed) == 3


@pytest.mark.spec("CMD-23", "EDN-5")
async def test_on_an_explicit_divergence_the_branchs_next_sequence_is_the_stamp(world):
    await _five_pages(world)

    with pytest.raises(SequenceMismatch, match="command expects 5, aggregate at 3"):
        await world.send("hp=9", at=5, edition="what-if", divergence=3)
    await world.send("hp=9", at=3, edition="what-if", divergence=3)

    assert await world.values(edition="what-if") == ["hp=1", "gold=1", "hp=2", "hp=9"]


@pytest.mark.spec("CMD-23", "CMD-20")
async def test_the_overlap_test_on_a_branch_sees_only_the_branch(world):
    await world.send("hp=1", "gold=1")
    await world.send("gold=2", at=2, edition="what-if")
    await world.send("hp=5", at=2)

    await world.send("hp=9", at=2, edition="what-if", strategy=wire.MERGE_COMMUTATIVE)

    assert (await world.values(edition="what-if"))[2:] == ["gold=2", "hp=9"]


@pytest.mark.spec("EDN-9", "CMD-37")
async def test_a_branch_begun_elsewhere_meanwhile_is_a_race_even_at_the_same_sequence(world):
    """Both branches are at 2, but one has main's page 1 and the other a page of its own."""
    await world.send("a=1", "b=1")

    async def begin() -> None:
        world.handler.gate = None
        await world.send("c=1", at=1, edition="what-if", divergence=1)

    world.handler.gate = begin

    await world.send("d=1", edition="what-if", strategy=wire.MERGE_AGGREGATE_HANDLES)

    assert await world.values(edition="what-if") == ["a=1", "c=1", "d=1"]
    assert [p.event.value for p in world.handler.seen[-1].events.pages] == [b"a=1", b"c=1"]


@pytest.mark.spec("EDN-7", "EDN-8")
async def test_a_divergence_that_can_not_be_is_refused(world):
    await world.send("a=1")
    with pytest.raises(InvalidDivergence):
        await world.send("b=1", at=2, edition="what-if", divergence=2)
    await world.send("b=1", at=1, edition="what-if")

    with pytest.raises(DivergenceConflict):
        await world.send("c=1", at=2, edition="what-if", divergence=0)


@pytest.mark.spec("EDN-2")
async def test_divergences_on_main_are_ignored(world):
    await world.send("a=1", edition="angzarr", divergence=7)

    assert await world.values() == ["a=1"]
