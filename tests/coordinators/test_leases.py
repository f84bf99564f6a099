"""Several processes on one log: leases, partitions, takeovers (DEP-14, STO-50)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.coordinators.places import Place, partition_of
from angzarr.cover import root_of
from angzarr.errors import NotPermitted, ReadStoreUnavailable, StoreUnavailable
from angzarr.testing.pages import cover_of

from .bus import ALICE, BOB, Bus, Recorder, projector, spec, turns

NAME = "saga-shipping"


@pytest.fixture
async def other(timed):
    """Another process on the same store."""
    made = Bus(timed.stores, timed.time)
    yield made
    await made.close()


@pytest.mark.spec("DEP-14")
async def test_one_of_two_processes_works_for_a_consumer(timed, other):
    first, second = Recorder(), Recorder()
    leading = await timed.start(spec(first))
    standing_by = await other.start(spec(second))

    await timed.publish()
    await timed.time.advance(60.0)

    assert (first.sequences, second.got) == ([0], [])
    states = [made.states()[NAME].is_leading for made in (leading, standing_by)]
    assert states == [True, False]


@pytest.mark.spec("DEP-14", "OPS-3")
async def test_a_process_that_stops_hands_over_within_a_third_of_the_lease(timed, other):
    first, second = Recorder(), Recorder()
    leading = await timed.start(spec(first))
    await other.start(spec(second))
    await timed.publish()
    await turns()

    await leading.stop()
    await timed.publish()
    await timed.time.advance(5.0)

    assert (first.sequences, second.sequences) == ([0], [1])


class Mortal:
    """A port of a process that can be killed: after that its calls never come back."""

    def __init__(self, port: object, life: asyncio.Event) -> None:
        self._port = port
        self._death = life

    def __getattr__(self, name: str) -> object:
        real = getattr(self._port, name)

        async def call(*args: object, **more: object) -> object:
            if self._death.is_set():
                await asyncio.Event().wait()
            return await real(*args, **more)

        return call


class MortalStores:
    """All ports of a process that can be killed."""

    def __init__(self, stores: object) -> None:
        self.death = asyncio.Event()
        for name in ("events", "positions", "dead_letters"):
            setattr(self, name, Mortal(getattr(stores, name), self.death))


@pytest.mark.spec("DEP-14", "SAGA-2")
async def test_a_process_that_dies_is_replaced_when_its_lease_is_over(timed, other):
    mortal = Bus(MortalStores(timed.stores), timed.time)
    first, second = Recorder(), Recorder()
    await mortal.start(spec(first))
    await other.start(spec(second))
    await timed.publish(count=2)
    await timed.time.advance(1.0)
    mortal.stores.death.set()
    await timed.publish()

    await timed.time.advance(13.0)
    assert second.got == []
    await timed.time.advance(7.0)

    assert (first.sequences, second.sequences) == ([0], [2])


@pytest.mark.spec("DEP-14")
async def test_a_process_that_lost_its_lease_begins_nothing_more(timed, other):
    gate = asyncio.Event()
    first, second = Recorder(lambda d: gate.wait()), Recorder()
    leading = await timed.start(spec(first))
    await timed.publish()
    await timed.publish()
    await turns()

    # The first process does not come to renew its lease, and the clock goes on.
    timed.time.clock.advance(20.0)
    await other.start(spec(second))
    gate.set()
    await turns()

    assert first.sequences == [0]  # it was being delivered; the next is not begun
    assert second.sequences == [0, 1]
    assert not leading.states()[NAME].is_leading


@pytest.mark.spec("DEP-14", "PROJ-4")
async def test_only_a_process_that_leads_begins_and_then_reads_the_cursor(timed, other):
    begun: list[str] = []

    async def begin() -> None:
        begun.append("second")
        await timed.stores.positions.reset(NAME)

    first, second = Recorder(), Recorder()
    leading = await timed.start(spec(first))
    await other.start(spec(second, begin=begin))
    await timed.publish(count=2)
    await timed.time.advance(60.0)
    assert begun == []

    await leading.stop()
    await timed.time.advance(5.0)

    assert (begun, second.sequences) == (["second"], [0])


@pytest.mark.spec("DEP-14", "STO-26")
async def test_one_that_is_long_in_beginning_costs_no_other_its_lease(timed, other):
    gate = asyncio.Event()
    slow, quick, elsewhere = Recorder(), Recorder(), Recorder()
    made = await timed.start(spec(slow, "slow", begin=gate.wait), spec(quick))
    await other.start(spec(elsewhere))

    await timed.time.advance(60.0)
    await timed.publish()
    await turns()

    assert (slow.got, quick.sequences, elsewhere.got) == ([], [0], [])
    gate.set()
    await turns()
    assert slow.sequences == [0]
    assert made.states()["saga-slow"].is_leading


@pytest.mark.spec("DEP-14", "OPS-3")
async def test_one_that_is_stopped_while_it_begins_leads_nothing(timed):
    gate, recorder = asyncio.Event(), Recorder()
    made = await timed.start(spec(recorder, begin=gate.wait))
    await turns()

    await made.stop()
    gate.set()
    await timed.publish()
    await turns()

    assert recorder.got == []
    assert await timed.stores.positions.lease(NAME, 0, "another", 1.0)


@pytest.mark.spec("DEP-14", "PROJ-18")
async def test_a_process_that_could_not_begin_tries_it_again(timed, caplog):
    failures = [ReadStoreUnavailable("orders.sqlite", "locked")]

    async def begin() -> None:
        if failures:
            raise failures.pop()

    recorder = Recorder()
    await timed.start(spec(recorder, begin=begin))
    await timed.publish()
    await turns()
    assert recorder.got == []

    await timed.time.advance(5.0)

    assert recorder.sequences == [0]
    assert "orders.sqlite" in caplog.text


@pytest.mark.spec("DEP-14")
async def test_a_process_that_gets_its_lease_back_goes_on_where_the_other_was(timed, other):
    first, second = Recorder(), Recorder()
    await timed.start(spec(first))
    await timed.publish()
    await turns()
    timed.time.clock.advance(20.0)
    took_over = await other.start(spec(second))
    await timed.publish()
    await timed.time.advance(6.0)
    await took_over.stop()

    await timed.publish()
    await timed.time.advance(10.0)

    assert first.sequences == [0, 2]
    assert second.sequences[-1] == 1


@pytest.mark.spec("DEP-14")
async def test_a_new_term_waits_for_what_still_runs_of_the_last_one(timed):
    gate = asyncio.Event()
    got = Recorder(lambda d: gate.wait())
    consumers = await timed.start(spec(got))
    await timed.publish(ALICE)
    await turns()
    timed.time.clock.advance(20.0)  # the lease is over before it is renewed
    await timed.publish(BOB)
    await turns()
    assert not consumers.states()[NAME].is_leading
    await timed.time.advance(60.0)
    assert [d.cover.stream for d in got.got] == [ALICE.stream]

    gate.set()
    await timed.time.advance(10.0)

    assert [d.cover.stream for d in got.got] == [ALICE.stream, BOB.stream]


@pytest.mark.spec("DEP-14")
async def test_a_lease_that_cannot_be_renewed_lasts_to_its_end_and_no_longer(timed, monkeypatch):
    lease = timed.stores.positions.lease
    is_down = [False]

    async def flaky(*args: object) -> bool:
        if is_down[0]:
            raise StoreUnavailable("data", "flaky")
        return await lease(*args)

    monkeypatch.setattr(timed.stores.positions, "lease", flaky)
    got = Recorder()
    await timed.start(spec(got))
    is_down[0] = True
    await timed.time.advance(14.0)
    await timed.publish()
    await turns()
    assert got.sequences == [0]

    await timed.time.advance(2.0)
    await timed.publish()
    await timed.time.advance(10.0)
    assert got.sequences == [0]

    is_down[0] = False
    await timed.time.advance(10.0)
    assert got.sequences[-1] == 1


@pytest.mark.spec("DEP-14")
async def test_a_clock_that_is_set_back_ends_the_lease_until_it_is_renewed(timed):
    got = Recorder()
    await timed.start(spec(got))
    timed.time.clock.advance(-3600.0)
    await timed.publish()
    await turns()
    assert got.got == []


@pytest.mark.spec("DEP-14")
async def test_the_only_process_of_a_store_need_not_wait_for_its_old_leases(timed):
    killed = Bus(MortalStores(timed.stores), timed.time)
    await killed.start(spec(Recorder()), holder="owner")
    killed.stores.death.set()
    await timed.publish()
    got = Recorder()

    await timed.start(spec(got), holder="owner")
    await turns()

    assert got.sequences == [0]


@pytest.mark.spec("DEP-14")
async def test_leases_cost_one_write_for_each_third_of_their_time(timed, monkeypatch):
    lease = timed.stores.positions.lease
    asked: list[object] = []

    async def counted(*args: object) -> bool:
        asked.append(args)
        return await lease(*args)

    monkeypatch.setattr(timed.stores.positions, "lease", counted)
    await timed.start(spec(Recorder()))

    await timed.time.advance(60.0)

    assert len(asked) == 1 + 12


@pytest.mark.spec("DEP-14")
def test_a_roots_partition_is_the_same_everywhere_and_all_are_used():
    assert [partition_of(root_of(name), 4) for name in ("alice", "bob")] == [0, 3]
    found = {partition_of(root_of(f"root-{number}"), 8) for number in range(200)}
    assert found == set(range(8))


@pytest.mark.spec("DEP-14", "STO-50", "STO-25")
async def test_replicas_share_a_consumer_by_root(timed, other):
    first, second = Recorder(), Recorder()
    # Each process is given some of the partitions, as it would be that came a moment earlier.
    mine = timed.consumers(spec(first), partitions=4)
    theirs = other.consumers(spec(second), partitions=4, holder="b")
    for partition in (0, 1):
        await timed.stores.positions.lease(NAME, partition, "b", 15.0)
    await mine.start()
    await theirs.start()
    covers = [cover_of(f"root-{number}") for number in range(40)]

    for _ in range(3):
        for cover in covers:
            await timed.publish(cover)
    await turns()

    assert {partition_of(d.cover.root, 4) for d in first.done} == {2, 3}
    assert {partition_of(d.cover.root, 4) for d in second.done} == {0, 1}
    assert all([*first.of(cover), *second.of(cover)] == [0, 1, 2] for cover in covers)
    assert mine.states()[NAME].partitions == (2, 3)


@pytest.mark.spec("DEP-14")
async def test_each_partition_has_its_own_cursor(timed):
    gate = asyncio.Event()
    bad = root_of("alice")
    got = Recorder(lambda d: gate.wait() if d.cover.root == bad else None)
    consumers = await timed.start(spec(got), partitions=4)

    await timed.publish(ALICE)
    await timed.publish(BOB)
    await timed.time.advance(6.0)

    cursors = [await Place(timed.stores.positions, NAME, p, 4).stored() for p in range(4)]
    assert cursors == [None, 2, 2, 2]
    assert consumers.states()[NAME].position == 0
    gate.set()


@pytest.mark.spec("DEP-14")
async def test_a_partition_whose_process_died_is_taken_over_and_misses_nothing(timed, other):
    mortal = Bus(MortalStores(timed.stores), timed.time)
    first, second = Recorder(), Recorder()
    await mortal.start(spec(first), partitions=3)
    await other.start(spec(second), partitions=3)
    covers = [cover_of(f"root-{number}") for number in range(30)]
    for cover in covers:
        await timed.publish(cover)
    await timed.time.advance(1.0)
    mortal.stores.death.set()
    for cover in covers:
        await timed.publish(cover)
    await timed.time.advance(30.0)

    assert all(first.of(cover)[:1] == [0] and 1 in second.of(cover) for cover in covers)


@pytest.mark.spec("DEP-14", "STO-26")
@pytest.mark.parametrize("counts", [(1, 4), (4, 1), (2, 3), (1, 4, 1), (4, 2, 4), (3, 1, 2, 3)])
async def test_with_another_number_of_partitions_a_consumer_goes_on(timed, counts):
    covers = [cover_of(f"root-{number}") for number in range(20)]
    got: list[Recorder] = []

    for count in counts:
        got.append(Recorder())
        consumers = await timed.start(spec(got[-1]), partitions=count)
        for cover in covers:
            await timed.publish(cover)
        await timed.time.advance(6.0)
        await consumers.stop()

    for index, recorder in enumerate(got):
        assert all(recorder.of(cover) == [index] for cover in covers)


@pytest.mark.spec("DEP-14", "STO-26")
async def test_partitions_that_are_behind_lose_nothing_when_their_number_changes(timed):
    gate = asyncio.Event()
    stuck = Recorder(lambda d: gate.wait() if d.cover.root == ALICE.root else None)
    await timed.start(spec(stuck), partitions=4, holder="owner")
    for cover in (BOB, ALICE, BOB):
        await timed.publish(cover)
    await timed.time.advance(6.0)
    got = Recorder()

    restarted = Bus(timed.stores, timed.time)
    await restarted.start(spec(got), partitions=1, holder="owner")
    await turns()

    assert got.of(ALICE) == [0]
    gate.set()
    await restarted.close()


@pytest.mark.spec("DEP-14", "STO-26")
async def test_a_consumer_from_now_is_known_to_all_its_partitions(timed):
    await timed.publish(ALICE)
    first = await timed.start(spec(Recorder(), from_now=True), partitions=2)
    await first.stop()
    for cover in (ALICE, BOB):
        await timed.publish(cover)
    got = Recorder()

    await timed.start(spec(got, from_now=True), partitions=3)
    await turns()

    assert {(d.cover.root, d.first) for d in got.done} == {(ALICE.root, 1), (BOB.root, 0)}


@pytest.mark.spec("DEP-14", "PROJ-9")
async def test_reset_forgets_the_cursors_of_partitions_that_are_no_more(timed):
    """They were kept under names that the present partitions don't know."""
    four = await timed.start(projector(Recorder()), partitions=4, holder="owner")
    await timed.publish(ALICE)
    await timed.time.advance(6.0)
    await four.stop()
    gate = asyncio.Event()
    stuck = Recorder(lambda d: gate.wait())
    two = await timed.start(projector(stuck), partitions=2, holder="owner")
    await two.reset("projector-orders")
    await timed.time.advance(6.0)
    assert len(stuck.got) == 1
    got = Recorder()

    restarted = Bus(timed.stores, timed.time)
    await restarted.start(projector(got), partitions=4, holder="owner")
    await turns()

    assert got.sequences == [0]
    gate.set()
    await restarted.close()


@pytest.mark.spec("PROJ-9", "DEP-14")
async def test_reset_is_for_the_process_that_leads(timed, other):
    first, second = Recorder(), Recorder()
    await timed.start(projector(first))
    standing_by = await other.start(projector(second))
    await timed.publish()
    await turns()

    with pytest.raises(NotPermitted, match="led by another process"):
        await standing_by.reset("projector-orders")
    await timed.time.advance(30.0)

    assert (first.sequences, second.got) == ([0], [])


@pytest.mark.spec("DEP-14")
async def test_the_state_of_who_stands_by_tells_the_leaders_cursor(timed, other):
    await timed.start(spec(Recorder()))
    standing_by = await other.start(spec(Recorder()))
    await timed.publish(count=3)
    await timed.time.advance(11.0)

    state = standing_by.states()[NAME]
    assert (state.position, state.lag, state.partitions) == (3, 0, ())
