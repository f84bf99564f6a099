"""Events of a branch as facts on main (EDN-27)."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.cover import Cover, root_of
from angzarr.editions import Choice
from angzarr.errors import (
    InvalidInput,
    RemoteError,
    SequenceConflict,
    TooLarge,
    UnknownDomain,
    UnknownEdition,
)

from .conftest import Fields
from .editing import desk
from .test_edition_diff import choosy

ALICE, BOB = sorted((root_of("alice"), root_of("bob")))


async def branched(world, *own, main=("a=1", "b=1", "c=1"), after=(), **more):
    """Main, a branch that leaves it at its end with `own`, and what comes on main after that."""
    await world.send(*main, **more)
    await world.send(*own, at=len(main), edition="what-if", divergence=len(main), **more)
    if after:
        await world.send(*after, at=len(main), **more)


@pytest.mark.spec("EDN-27", "FACT-2")
async def test_the_branchs_events_become_facts_at_mains_head(world):
    await branched(world, "a=2", "d=1")

    report = await desk(world).promote("what-if")

    assert await world.values() == ["a=1", "b=1", "c=1", "a=2", "d=1"]
    [stream] = report
    assert [(e.sequence, e.payload, e.cover.edition) for e in stream.events] == [
        (3, b"a=2", "angzarr"),
        (4, b"d=1", "angzarr"),
    ]
    assert report.is_recorded


@pytest.mark.spec("EDN-27")
async def test_facts_are_dated_when_they_are_recorded(world):
    await branched(world, "a=2")
    world.clock.advance(60)

    await desk(world).promote("what-if")

    [*_, page] = (await world.stored()).pages
    assert page.created_at.ToNanoseconds() == world.clock.now_ns()


@pytest.mark.spec("EDN-27")
async def test_the_branch_stays_as_it_is(world):
    await branched(world, "a=2")
    before = await world.stored(edition="what-if")

    await desk(world).promote("what-if")

    assert await world.stored(edition="what-if") == before


@pytest.mark.spec("EDN-27")
async def test_main_that_has_not_grown_is_clean(world):
    await branched(world, "a=2")

    [stream] = await desk(world).promote("what-if", dry_run=True)

    assert (stream.judgement, stream.divergence, stream.main_next_sequence) == ("clean", 3, 3)
    assert (stream.theirs, stream.mine, stream.overlap) == ((), ("a",), ())


@pytest.mark.spec("EDN-27")
async def test_other_fields_that_main_has_changed_are_disjoint(world):
    await branched(world, "a=2", after=("b=9", "c=9"))

    [stream] = report = await desk(world).promote("what-if")

    assert (stream.judgement, stream.divergence, stream.main_next_sequence) == ("disjoint", 3, 5)
    assert (stream.theirs, stream.mine, stream.overlap) == (("b", "c"), ("a",), ())
    assert report.is_recorded
    assert await world.values() == ["a=1", "b=1", "c=1", "b=9", "c=9", "a=2"]


@pytest.mark.spec("EDN-27")
async def test_a_field_that_both_have_changed_is_a_conflict_and_nothing_is_recorded(world):
    await branched(world, "a=2", "b=2", after=("b=9", "c=9"))

    report = await desk(world).promote("what-if")

    [stream] = report.conflicts
    assert (stream.judgement, stream.sequences) == ("conflict", (3, 4))
    assert (stream.theirs, stream.mine, stream.overlap) == (("b", "c"), ("a", "b"), ("b",))
    assert (stream.events, report.is_recorded) == ((), False)
    assert len(await world.values()) == 5


@pytest.mark.spec("EDN-27")
async def test_a_conflict_that_is_accepted_is_recorded(world):
    await branched(world, "b=2", after=("b=9",))

    report = await desk(world).promote("what-if", accept_conflicts=True)

    assert report.is_recorded
    assert report.conflicts
    assert (await world.values())[-1] == "b=2"


@pytest.mark.spec("EDN-27")
async def test_a_dry_run_records_nothing(world):
    await branched(world, "a=2")

    report = await desk(world).promote("what-if", dry_run=True)

    assert (report.is_dry_run, report.is_recorded) == (True, False)
    assert len(await world.values()) == 3


@pytest.mark.spec("EDN-27")
async def test_one_stream_in_conflict_keeps_the_others_back(world):
    await branched(world, "a=2", after=("a=9",), root=ALICE)
    await branched(world, "a=2", root=BOB)

    report = await desk(world).promote("what-if")

    assert [stream.judgement for stream in report] == ["conflict", "clean"]
    assert [stream.events for stream in report] == [(), ()]
    assert len(await world.values(root=BOB)) == 3


@pytest.mark.spec("EDN-27")
async def test_all_streams_are_promoted_where_none_is_chosen(world):
    world.coordinate(handlers={"account": world.handler, "player": Fields("player")})
    await branched(world, "a=2", root=ALICE)
    await branched(world, "a=3", domain="player", root=BOB)

    report = await desk(world).promote("what-if")

    assert [(s.domain, s.root, s.events[0].payload) for s in report] == [
        ("account", ALICE, b"a=2"),
        ("player", BOB, b"a=3"),
    ]


@pytest.mark.spec("EDN-27")
async def test_a_whole_domain_may_be_chosen(world):
    world.coordinate(handlers={"account": world.handler, "player": Fields("player")})
    await branched(world, "a=2")
    await branched(world, "a=3", domain="player")

    report = await desk(world).promote("what-if", Choice("player"))

    assert [stream.domain for stream in report] == ["player"]
    assert len(await world.values()) == 3


@pytest.mark.spec("EDN-27")
async def test_chosen_sequences_alone_are_recorded_and_judged(world):
    await branched(world, "a=2", "b=2", "c=2", after=("a=9",))

    [stream] = await desk(world).promote("what-if", Choice("account", world.ROOT, [5, 4, 4]))

    assert (stream.judgement, stream.sequences, stream.mine) == ("disjoint", (4, 5), ("b", "c"))
    assert (await world.values())[3:] == ["a=9", "b=2", "c=2"]


@pytest.mark.spec("EDN-27", "FACT-5")
async def test_a_promotion_that_is_repeated_records_nothing(world):
    await branched(world, "a=2", "d=1")
    first = await desk(world).promote("what-if")

    [again] = report = await desk(world).promote("what-if")

    assert again.judgement == "repeated"
    assert again.events == first.streams[0].events
    assert report.is_recorded
    assert len(await world.values()) == 5


@pytest.mark.spec("EDN-27")
async def test_what_was_promoted_before_is_in_conflict_with_more_of_the_same(world):
    await branched(world, "a=2", "a=3")
    await desk(world).promote("what-if", Choice("account", world.ROOT, [3]))

    report = await desk(world).promote("what-if")

    assert [stream.judgement for stream in report] == ["conflict"]


@pytest.mark.spec("EDN-27", "EDN-17")
async def test_a_branch_that_was_begun_anew_is_promoted_anew(world):
    await branched(world, "d=1")
    await desk(world).promote("what-if")
    await desk(world).delete("what-if")
    world.clock.advance(1)
    await world.send("e=1", at=3, edition="what-if", divergence=3)

    [stream] = await desk(world).promote("what-if")

    assert (stream.judgement, await world.values()) == (
        "disjoint",
        ["a=1", "b=1", "c=1", "d=1", "e=1"],
    )


@pytest.mark.spec("EDN-27", "CAS-5")
async def test_a_pending_page_is_refused(world):
    await branched(world, "a=2")
    await world.send("d=1", at=4, edition="what-if", cascade_id="c-1")

    with pytest.raises(InvalidInput, match=r"page 4 of .* it is uncommitted of cascade c-1"):
        await desk(world).promote("what-if")

    assert len(await world.values()) == 3


@pytest.mark.spec("EDN-27", "CAS-5")
@pytest.mark.parametrize(
    ("sequence", "why"), [(4, "revoked of cascade c-1"), (5, "framework_event")]
)
async def test_revoked_pages_and_framework_events_are_refused_where_they_are_named(
    world, sequence, why
):
    await _with_revoked(world)

    with pytest.raises(InvalidInput, match=f"page {sequence} of .* it is {why}"):
        await desk(world).promote("what-if", Choice("account", world.ROOT, [sequence]))


@pytest.mark.spec("EDN-27", "CAS-5")
async def test_all_events_of_a_stream_are_those_that_count(world):
    await _with_revoked(world)

    [stream] = await desk(world).promote("what-if")

    assert (stream.sequences, (await world.values())[3:]) == ((3,), ["a=2"])


async def _with_revoked(world):
    await branched(world, "a=2")
    await world.send("d=1", at=4, edition="what-if", cascade_id="c-1")
    await world.events.decide_cascade("c-1", "ROLLBACK", "why not")
    await world.events.resolve_cascade(world.cover(edition="what-if"), "c-1")


@pytest.mark.spec("EDN-27")
@pytest.mark.parametrize("sequence", [2, 4])
async def test_pages_that_are_not_the_branchs_own_are_refused(world, sequence):
    await branched(world, "a=2")

    with pytest.raises(InvalidInput, match=r"own pages of .*: 3 to 3, got"):
        await desk(world).promote("what-if", Choice("account", world.ROOT, [sequence]))


@pytest.mark.spec("EDN-27")
async def test_a_stream_that_the_branch_does_not_have_is_refused(world):
    await branched(world, "a=2", root=ALICE)

    with pytest.raises(InvalidInput, match="streams of edition what-if"):
        await desk(world).promote("what-if", Choice("account", BOB))


@pytest.mark.parametrize(
    ("choices", "limit"),
    [
        ((Choice("account", ALICE), Choice("account", ALICE)), "one a stream"),
        ((Choice("account", ALICE), Choice("account")), "one a stream"),
        ((Choice("account", sequences=[3]),), "set beside sequences"),
        ((Choice("_angzarr", ALICE),), "not reserved"),
        ((Choice("account", b"short"),), "16 bytes"),
    ],
    ids=["twice", "within", "sequences", "reserved", "root"],
)
async def test_choices_are_checked(world, choices, limit):
    await branched(world, "a=2", root=ALICE)

    with pytest.raises(InvalidInput, match=limit):
        await desk(world).promote("what-if", *choices)


@pytest.mark.spec("EDN-27", "CMD-4")
async def test_a_domain_that_takes_no_facts_is_refused_before_anything_is_recorded(world):
    await world.stores.real.events.append(Cover("zoo", BOB, "what-if"), 0, [_page(0)])
    await branched(world, "a=2")

    with pytest.raises(UnknownDomain, match="zoo"):
        await desk(world).promote("what-if")

    assert len(await world.values()) == 3


@pytest.mark.spec("EDN-27")
async def test_an_unknown_edition_is_not_promoted(world):
    with pytest.raises(UnknownEdition):
        await desk(world).promote("nobody")


@pytest.mark.parametrize("name", ["", "angzarr"])
async def test_main_is_not_promoted(world, name):
    with pytest.raises(InvalidInput, match="an edition other than main"):
        await desk(world).promote(name)


async def test_a_promotion_has_a_bounded_number_of_streams(world):
    await branched(world, "a=2", root=ALICE)
    await branched(world, "a=2", root=BOB)

    with pytest.raises(TooLarge, match="at most 1 streams"):
        await desk(world, promoted_streams=1).promote("what-if")


async def test_a_promotion_has_a_bounded_number_of_pages_in_a_stream(world):
    await branched(world, "a=2", "a=3", "a=4")

    with pytest.raises(TooLarge, match="at most 2 pages"):
        await desk(world, promoted_pages=2).promote("what-if")


@pytest.mark.spec("EDN-27", "CMD-15")
async def test_without_replay_a_main_that_has_grown_is_a_conflict(world):
    await branched(world, "a=2", after=("b=9",))
    world.handler.replay_answer = RemoteError("UNIMPLEMENTED", "no Replay")

    [stream] = await desk(world).promote("what-if")

    assert (stream.judgement, stream.overlap) == ("conflict", ("*",))


@pytest.mark.spec("EDN-27")
async def test_without_replay_a_main_that_has_not_grown_is_clean(world):
    await branched(world, "a=2")
    world.handler.replay_answer = RemoteError("UNIMPLEMENTED", "no Replay")

    [stream] = await desk(world).promote("what-if")

    assert (stream.judgement, stream.mine, len(stream.events)) == ("clean", ("*",), 1)


@pytest.mark.spec("EDN-27", "SNAP-14")
async def test_a_snapshot_that_the_handler_cant_read_is_left_out(world):
    await branched(world, "a=2", after=("b=9",))
    snapshot = wire.Snapshot(sequence=3, state=world.state_any(z="1")).SerializeToString()
    await world.stores.real.snapshots.put(world.cover(), snapshot)
    world.handler.replay = choosy(world.handler.replay)

    [stream] = await desk(world).promote("what-if")

    assert (stream.judgement, stream.theirs, stream.mine) == ("disjoint", ("b",), ("a",))


@pytest.mark.spec("EDN-27", "EDN-21")
async def test_a_nested_branch_left_main_where_its_parent_did(world):
    await branched(world, "a=2", after=("b=9",))
    await desk(world).declare("kid", parent="what-if")
    await world.send("c=2", at=4, edition="kid")

    [stream] = await desk(world).promote("kid")

    assert (stream.divergence, stream.theirs, stream.mine) == (3, ("b",), ("c",))
    assert (await world.values())[3:] == ["b=9", "c=2"]


@pytest.mark.spec("EDN-27", "EDN-21")
async def test_a_nested_branch_that_began_before_its_parent_left_main_itself(world):
    await world.send("a=1", "b=1", "c=1")
    await desk(world).declare("kid", parent="what-if")
    await world.send("d=1", at=3, edition="kid")
    await world.send("a=2", at=1, edition="what-if", divergence=1)

    [stream] = await desk(world).promote("kid")

    assert (stream.judgement, stream.divergence) == ("clean", 3)


@pytest.mark.spec("EDN-27")
async def test_a_stream_that_main_moved_under_is_judged_again(world):
    await branched(world, "a=2")
    moved = []

    async def overtaken(real, *arguments, **options):
        if not moved:
            moved.append(await world.stores.real.events.append(world.cover(), 3, [_page(3, "b=9")]))
            raise SequenceConflict(world.cover(), 3, 4)
        return await real(*arguments, **options)

    world.events.faults["append"] = overtaken
    [stream] = report = await desk(world).promote("what-if")

    assert (stream.judgement, stream.theirs, stream.main_next_sequence) == ("disjoint", ("b",), 4)
    assert report.is_recorded
    assert (await world.values())[3:] == ["b=9", "a=2"]


@pytest.mark.spec("EDN-27")
async def test_a_stream_that_is_in_conflict_by_then_stays_out(world):
    await branched(world, "a=2", root=ALICE)
    await branched(world, "a=2", root=BOB)
    moved = []

    async def overtaken(real, cover, *arguments, **options):
        if cover.root == BOB and not moved:
            moved.append(await world.stores.real.events.append(cover, 3, [_page(3, "a=9")]))
            raise SequenceConflict(cover, 3, 4)
        return await real(cover, *arguments, **options)

    world.events.faults["append"] = overtaken
    report = await desk(world).promote("what-if")

    assert [(s.judgement, len(s.events)) for s in report] == [("clean", 1), ("conflict", 0)]
    assert not report.is_recorded


@pytest.mark.spec("EDN-27")
async def test_a_main_that_never_rests_ends_the_promotion(world):
    await branched(world, "a=2")
    world.events.faults["append"] = SequenceConflict(world.cover(), 3, 4)

    with pytest.raises(SequenceConflict):
        await desk(world).promote("what-if")

    assert len(world.slept) == 9


@pytest.mark.spec("EDN-27", "UPC-2")
async def test_what_is_recorded_is_what_readers_see(world):
    class Lift:
        async def upcast(self, request, context):
            asked = wire.UpcastRequest.FromString(request)
            response = wire.UpcastResponse(events=asked.events)
            for page in response.events:
                page.event.value = page.event.value.replace(b"old", b"new")
            return response.SerializeToString()

    world.coordinate(upcasters={"account": Lift()})
    await branched(world, "old=2")

    await desk(world).promote("what-if")

    assert (await world.values())[3:] == ["new=2"]


@pytest.mark.spec("EDN-27")
async def test_the_facts_carry_the_promotions_correlation_id(world):
    await branched(world, "a=2")

    await desk(world).promote("what-if", correlation_id="promotion-7")

    assert (await world.log())[-1].cover.correlation_id == "promotion-7"


@pytest.mark.spec("EDN-27")
async def test_the_facts_key_names_the_branch(world):
    await branched(world, "a=2")
    seen = []

    async def watched(real, *arguments, **options):
        seen.append(options["provenance"])
        return await real(*arguments, **options)

    world.events.faults["append"] = watched
    await desk(world).promote("what-if")

    [key] = seen
    assert (key.kind, key.component, key.source_seq) == (wire.FACT, "promotion", 3)
    assert key.source == world.cover(edition="what-if")


@pytest.mark.spec("EDN-27", "QRY-11")
async def test_a_long_report_is_put_together_from_its_parts(world):
    await branched(world, *(f"a={number}" for number in range(5)))

    [stream] = await desk(world, query_result_limit=2).promote("what-if")

    assert stream.sequences == (3, 4, 5, 6, 7)
    assert [event.payload for event in stream.events] == [
        f"a={number}".encode() for number in range(5)
    ]


def _page(sequence, text="z=1"):
    page = wire.EventPage(committed=True)
    page.header.sequence = sequence
    page.event.CopyFrom(Any(type_url="type.googleapis.com/test.Set", value=text.encode()))
    return page.SerializeToString()
