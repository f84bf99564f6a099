"""Where two editions differ (EDN-26)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import lineage
from angzarr.cover import MAIN, Cover, root_of
from angzarr.errors import InvalidInput, RemoteError, SnapshotUnreadable, UnknownEdition

from .conftest import Fields
from .editing import desk, everything

ALICE, BOB = sorted((root_of("alice"), root_of("bob")))


async def diff(world, left, right, **more):
    return await everything(desk(world).diff(left, right, **more))


def said(side):
    """The events of a side."""
    return [event.payload.decode() for event in side.events]


async def branched(world, **more):
    """Main a=1, b=1, then c=1; the branch leaves it after two with a=2."""
    await world.send("a=1", "b=1", "c=1", **more)
    await world.send("a=2", at=2, edition="what-if", divergence=2, **more)


@pytest.mark.spec("EDN-26")
async def test_a_difference_has_both_sides_from_where_they_differ(world):
    await branched(world)

    [found] = await diff(world, "", "what-if")

    assert (found.domain, found.root, found.first_sequence) == ("account", world.ROOT, 2)
    assert (found.left.edition, said(found.left), found.left.next_sequence) == (MAIN, ["c=1"], 3)
    assert (found.right.edition, said(found.right)) == ("what-if", ["a=2"])
    assert [event.sequence for event in found.right.events] == [2]


@pytest.mark.spec("EDN-26", "CMD-21")
async def test_a_difference_has_both_states_and_the_fields_that_differ(world):
    await branched(world)

    [found] = await diff(world, "", "what-if")

    assert (found.left.state, found.right.state) == (b"a=1;b=1;c=1", b"a=2;b=1")
    assert found.fields == ("a", "c")


@pytest.mark.spec("EDN-26")
async def test_times_do_not_differ(world):
    await world.send("a=1", "b=1")
    world.clock.advance(5)
    await world.send("b=1", at=1, edition="what-if", divergence=1)

    assert await diff(world, "", "what-if") == []


@pytest.mark.spec("EDN-26")
async def test_streams_without_pages_on_the_branch_are_equal(world):
    await branched(world, root=ALICE)
    await world.send("a=1", root=BOB)

    assert [item.root for item in await diff(world, "", "what-if")] == [ALICE]


@pytest.mark.spec("EDN-26")
async def test_an_edition_is_equal_to_itself(world):
    await branched(world)

    assert await diff(world, "what-if", "what-if") == []


@pytest.mark.spec("EDN-26")
async def test_the_first_difference_may_lie_after_own_pages(world):
    await world.send("a=1", "b=1")
    await world.send("b=1", "c=1", at=1, edition="what-if", divergence=1)

    [found] = await diff(world, "what-if", "")

    assert (found.first_sequence, said(found.left), said(found.right)) == (2, ["c=1"], [])


@pytest.mark.spec("EDN-26")
async def test_a_stream_that_only_the_branch_has_differs_from_its_beginning(world):
    await world.send("a=1", edition="what-if")

    [found] = await diff(world, "", "what-if")

    assert (found.first_sequence, found.left.next_sequence, found.left.state) == (0, 0, None)
    assert (said(found.right), found.fields) == (["a=1"], ("a",))


@pytest.mark.spec("EDN-26")
async def test_differences_come_in_the_order_of_domain_and_root(world, monkeypatch):
    monkeypatch.setattr(lineage, "PAGES_AT_ONCE", 1)
    world.coordinate(handlers={"player": Fields("player"), "account": world.handler})
    await world.send("a=1", domain="player", edition="right")
    for root in (BOB, ALICE):
        await world.send("a=1", root=root, edition="left")
    await world.send("b=1", root=BOB, edition="right")

    found = await diff(world, "left", "right")

    assert [(item.domain, item.root) for item in found] == [
        ("account", ALICE),
        ("account", BOB),
        ("player", world.ROOT),
    ]


@pytest.mark.spec("EDN-26")
async def test_a_domain_or_one_stream_of_it_may_be_chosen(world):
    world.coordinate(handlers={"player": Fields("player"), "account": world.handler})
    for root in (ALICE, BOB):
        await world.send("a=1", root=root, edition="what-if")
    await world.send("a=1", domain="player", edition="what-if")

    of_domain = await diff(world, "", "what-if", domain="player")
    of_stream = await diff(world, "", "what-if", domain="account", root=BOB)

    assert [item.domain for item in of_domain] == ["player"]
    assert [item.root for item in of_stream] == [BOB]


@pytest.mark.spec("EDN-26", "EDN-21")
async def test_a_nested_branch_differs_from_its_parent_from_its_own_pages_on(world):
    await branched(world)
    await desk(world).declare("kid", parent="what-if")
    await world.send("d=1", at=3, edition="kid")

    [found] = await diff(world, "what-if", "kid")

    assert (found.first_sequence, said(found.left), said(found.right)) == (3, [], ["d=1"])


@pytest.mark.spec("EDN-26", "EDN-21")
async def test_what_a_branch_reads_of_its_parent_differs_from_main(world):
    await branched(world)
    await desk(world).declare("kid", parent="what-if")

    [found] = await diff(world, "", "kid")

    assert (found.first_sequence, said(found.right), found.fields) == (2, ["a=2"], ("a", "c"))


@pytest.mark.spec("EDN-26", "EDN-21")
async def test_a_branch_that_began_before_its_parent_differs_where_they_do(world):
    await world.send("a=1", "b=1", "c=1")
    await desk(world).declare("kid", parent="left")
    await world.send("d=1", at=3, edition="kid")
    await world.send("z=1", at=1, edition="left", divergence=1)

    [found] = await diff(world, "left", "kid")

    assert (found.first_sequence, said(found.left)) == (1, ["z=1"])
    assert said(found.right) == ["b=1", "c=1", "d=1"]


@pytest.mark.spec("EDN-26", "CAS-5")
async def test_pages_that_are_not_applied_are_alike(world):
    await world.send("a=1")
    await world.send("b=1", at=1, edition="what-if", cascade_id="c-1")
    await world.send("c=1", at=1, cascade_id="c-2")

    assert await diff(world, "", "what-if") == []


@pytest.mark.spec("EDN-26", "CMD-22")
async def test_without_replay_every_field_may_differ(world):
    await branched(world)
    world.handler.replay_answer = RemoteError("UNIMPLEMENTED", "no Replay")

    [found] = await diff(world, "", "what-if")

    assert (found.left.state, found.right.state, found.fields) == (None, None, ("*",))
    assert said(found.right) == ["a=2"]


@pytest.mark.spec("EDN-26")
async def test_streams_of_a_domain_that_nobody_handles_here_are_compared_by_pages(world):
    await branched(world)
    world.coordinate(handlers={"player": Fields("player")})

    [found] = await diff(world, "", "what-if")

    assert (found.first_sequence, found.left.next_sequence, found.fields) == (2, 3, ("*",))


@pytest.mark.spec("EDN-26", "QRY-11")
async def test_a_long_difference_is_put_together_from_its_parts(world):
    await world.send("a=1")
    for number in range(7):
        await world.send(f"b={number}", at=1 + number, edition="what-if")
    whole = await everything(desk(world).diff("", "what-if"))

    limited = await everything(desk(world, query_result_limit=2).diff("", "what-if"))

    assert limited == whole
    assert said(limited[0].right) == [f"b={number}" for number in range(7)]


async def test_the_audit_of_editions_is_no_difference(world):
    await world.send("a=1", edition="gone")
    await desk(world).delete("gone")
    await world.send("a=1", edition="what-if")

    assert {item.domain for item in await diff(world, "", "what-if")} == {"account"}


@pytest.mark.spec("EDN-26")
@pytest.mark.parametrize("pair", [("", "nobody"), ("nobody", "")])
async def test_an_edition_that_is_not_there_is_no_copy_of_main(world, pair):
    with pytest.raises(UnknownEdition, match="Unknown edition nobody"):
        await diff(world, *pair)


async def test_a_root_needs_its_domain(world):
    await branched(world)

    with pytest.raises(InvalidInput, match="domain must be set beside a root"):
        await diff(world, "", "what-if", root=ALICE)


@pytest.mark.spec("EDN-26", "SNAP-10")
async def test_states_start_from_snapshots(world):
    await branched(world)
    await world.stores.real.snapshots.put(
        Cover("account", world.ROOT),
        wire.Snapshot(sequence=1, state=world.state_any(a="1", b="1")).SerializeToString(),
    )

    [found] = await diff(world, "", "what-if")

    assert [len(request.events) for request in world.handler.replayed] == [1, 1]
    assert found.fields == ("a", "c")


@pytest.mark.spec("EDN-26", "SNAP-14")
async def test_a_snapshot_that_the_handler_cant_read_is_left_out(world):
    await branched(world)
    await world.stores.real.snapshots.put(
        Cover("account", world.ROOT),
        wire.Snapshot(sequence=1, state=world.state_any(z="1")).SerializeToString(),
    )
    world.handler.replay = choosy(world.handler.replay)

    [found] = await diff(world, "", "what-if")

    assert (found.left.state, found.right.state) == (b"a=1;b=1;c=1", b"a=2;b=1")


def choosy(replay):
    """A Replay that takes no snapshots of old."""

    async def refusing(request, context):
        if wire.ReplayRequest.FromString(request).HasField("base_snapshot"):
            raise SnapshotUnreadable("aggregate:account", "it has z", "a, b and c")
        return await replay(request, context)

    return refusing
