"""The worker of obligations (STO-23, COMP-4)."""

from __future__ import annotations

import asyncio
import logging

import pytest

from angzarr.coordinators.duties import Duties
from angzarr.coordinators.duty import Permanent, Postponed
from angzarr.coordinators.options import Backoff, DutyOptions
from angzarr.errors import CommandRejected, Overloaded, StoreClosed, StoreUnavailable
from angzarr.ports.event_store import Obligation
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock

MS = 1_000_000


async def until(condition):
    """Let the others run until it holds."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


class Errand:
    """A duty that does as `act` says. done, given_up: the obligations it was asked to do."""

    def __init__(self, kind="errand", *, max_attempts=10, backoff=Backoff(0.1, 60.0)):  # noqa: B008
        self.kind = kind
        self.max_attempts = max_attempts
        self.backoff = backoff
        self.act = None
        self.give = None
        self.begun = []
        self.given_up = []
        self.news = asyncio.Event()

    async def fulfil(self, obligation):
        self.begun.append(obligation)
        self.news.set()
        if isinstance(self.act, Exception):
            raise self.act
        if self.act is not None:
            await self.act(obligation)

    async def give_up(self, obligation, error):
        if self.give is not None:
            raise self.give
        self.given_up.append((obligation, error))
        self.news.set()

    async def began(self, count):
        """Wait until it was asked `count` times."""
        while len(self.begun) < count:
            self.news.clear()
            await self.news.wait()


class Broken:
    """An obligation store that raises what is in `faults[name]`, from the last on; None is none."""

    def __init__(self, real):
        self._real = real
        self.faults = {}
        self.calls = []

    def __getattr__(self, name):
        real = getattr(self._real, name)

        async def call(*args, **options):
            self.calls.append(name)
            faults = self.faults.get(name, [])
            if faults and (fault := faults.pop()) is not None:
                raise fault
            return await real(*args, **options)

        return call


class World:
    def __init__(self):
        self.clock = ManualClock()
        self.real = open_stores("memory://", clock=self.clock)
        self.obligations = Broken(self.real.obligations)
        self.slept = []
        self.errand = Errand()
        self.duties = self.make()
        self.duties.add(self.errand)

    def make(self, **options):
        async def sleep(delay_s):
            self.slept.append(delay_s)
            await asyncio.sleep(0)

        return Duties(self, self.clock, options=DutyOptions(**options), sleep=sleep)

    async def put(self, name="o-1", *, kind="errand", after_s=0.0, payload=b"payload"):
        due_ns = self.clock.now_ns() + round(after_s * NS_PER_S)
        obligation = Obligation(name, kind, payload, due_ns)
        await self.real.obligations.put(obligation)
        return obligation

    async def left(self):
        """What is open, leases aside."""
        return await self.real.obligations.due(2**62, limit=1000, lease_s=0)

    async def resting(self):
        """Wait until the worker sleeps."""
        await until(lambda: self.clock.waits)


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.duties.stop()
    await made.real.close()


@pytest.mark.spec("STO-23")
async def test_what_is_due_is_fulfilled_and_closed(world):
    obligation = await world.put()

    assert await world.duties.run_due() == 1

    assert world.errand.begun == [obligation]
    assert await world.left() == []


@pytest.mark.spec("STO-23")
async def test_what_is_not_due_yet_waits(world):
    await world.put(after_s=5)

    assert await world.duties.run_due() == 0
    world.clock.advance(5)
    assert await world.duties.run_due() == 1


@pytest.mark.spec("STO-23")
async def test_each_kind_goes_to_its_own_duty_and_unknown_kinds_to_nobody(world):
    other = Errand("other")
    world.duties.add(other)
    await world.put("a")
    await world.put("b", kind="other")
    left = await world.put("c", kind="elsewhere")

    assert await world.duties.run_due() == 2

    assert [o.id for o in world.errand.begun] == ["a"]
    assert [o.id for o in other.begun] == ["b"]
    assert await world.left() == [left]


async def test_a_kind_has_one_duty(world):
    with pytest.raises(AssertionError):
        world.duties.add(Errand())


@pytest.mark.spec("COMP-4")
async def test_a_failure_is_tried_again_with_strictly_growing_delays(world):
    world.errand.act = StoreUnavailable("x", "down")
    await world.put()
    delays = []

    for _ in range(9):
        await world.duties.run_due()
        [again] = await world.real.obligations.due(2**61, lease_s=0)
        delays.append((again.due_ns - world.clock.now_ns()) // MS)
        world.clock.set(again.due_ns)
        await world.real.obligations.retry(again.id, again.due_ns, "", is_counted=False)

    assert delays == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600]


@pytest.mark.spec("COMP-4")
async def test_delays_stop_growing_at_the_cap_however_often_it_failed(world):
    backoff = Backoff(0.1, 60.0)

    assert [backoff.delay_s(retry) for retry in (9, 10, 5_000)] == [51.2, 60.0, 60.0]


@pytest.mark.spec("COMP-4")
async def test_an_attempt_and_its_error_are_counted(world):
    world.errand.act = StoreUnavailable("x", "down")
    await world.put()

    await world.duties.run_due()

    [again] = await world.left()
    assert (again.attempts, again.last_error) == (1, "store x is unavailable: down")


@pytest.mark.spec("COMP-6")
async def test_the_budgets_end_gives_it_up_and_closes_it(world):
    world.errand.act = error = CommandRejected("no")
    world.errand.max_attempts = 2
    obligation = await world.put()
    await world.duties.run_due()
    world.clock.advance(1)

    await world.duties.run_due()

    [(given_up, why)] = world.errand.given_up
    assert (given_up.id, given_up.attempts, given_up.last_error) == (obligation.id, 2, "no")
    assert why is error
    assert await world.left() == []


async def test_without_a_budget_it_is_tried_for_ever(world):
    world.errand.act = CommandRejected("no")
    world.errand.max_attempts = 0
    await world.put()

    for _ in range(30):
        await world.duties.run_due()
        world.clock.advance(60)

    assert len(world.errand.begun) == 30
    assert world.errand.given_up == []


async def test_what_is_of_no_use_is_given_up_at_once(world):
    cause = CommandRejected("never")
    world.errand.act = Permanent(cause)
    await world.put()

    await world.duties.run_due()

    [(given_up, why)] = world.errand.given_up
    assert (given_up.attempts, given_up.last_error, why) == (1, "never", cause)
    assert await world.left() == []


@pytest.mark.spec("DLQ-5")
async def test_what_cannot_be_given_up_is_kept_and_tried_again(world, caplog):
    world.errand.act = CommandRejected("no")
    world.errand.max_attempts = 1
    world.errand.give = StoreUnavailable("dead letters", "full")
    await world.put()

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()
    [kept] = await world.real.obligations.due(2**61, lease_s=0)
    world.errand.give = None
    world.clock.advance(1)
    await world.real.obligations.retry(kept.id, kept.due_ns, "no", is_counted=False)
    await world.duties.run_due()

    assert kept.attempts == 1
    assert "can't be given up" in caplog.text
    assert [o.attempts for o, _ in world.errand.given_up] == [2]
    assert await world.left() == []


async def test_a_postponed_one_comes_back_without_an_attempt(world):
    world.errand.act = Postponed("the cascade is open", 2.0)
    await world.put()

    await world.duties.run_due()

    [later] = await world.real.obligations.due(2**61, lease_s=0)
    assert (later.attempts, later.last_error) == (0, "the cascade is open")
    assert later.due_ns == START_NS + 2 * NS_PER_S


async def test_a_defect_is_logged_with_its_traceback_and_is_an_attempt(world, caplog):
    world.errand.act = ZeroDivisionError("boom")
    await world.put()

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()

    [again] = await world.left()
    assert again.attempts == 1
    assert caplog.records[0].exc_info


@pytest.mark.spec("COMP-3")
async def test_what_is_recorded_is_durable_and_counts_once(world):
    obligation = Obligation("o-1", "errand", b"first", START_NS)

    await world.duties.record(obligation)
    await world.duties.record(Obligation("o-1", "errand", b"second", START_NS), obligation)

    assert await world.left() == [obligation]


@pytest.mark.spec("COMP-3")
async def test_several_are_recorded_each_by_itself(world):
    obligations = [Obligation(f"o-{n}", "errand", b"", START_NS + n) for n in range(3)]

    await world.duties.record(*obligations)

    assert await world.left() == obligations


@pytest.mark.spec("COMP-3")
async def test_nothing_to_record_is_nothing_stored(world):
    await world.duties.record()

    assert await world.left() == []


@pytest.mark.spec("COMP-3")
@pytest.mark.parametrize("put_count", [1, 2, 3])
async def test_several_are_recorded_all_or_none(world, put_count):
    """A process that dies on the way leaves none, or all, for the next one."""
    obligations = [Obligation(f"o-{n}", "errand", b"", START_NS) for n in range(2)]
    world.obligations.faults["put"] = [StoreUnavailable("data", "down")] * (4 - put_count)
    world.obligations.faults["put"].extend([None] * (put_count - 1))

    [outcome] = await asyncio.gather(world.duties.record(*obligations), return_exceptions=True)
    world.obligations.faults.clear()
    world.clock.advance(30)
    await world.duties.run_due()
    await world.duties.run_due()

    is_recorded = put_count > 1
    assert isinstance(outcome, StoreUnavailable) == (not is_recorded)
    assert {o.id for o in world.errand.begun} == ({"o-0", "o-1"} if is_recorded else set())
    assert await world.left() == []


@pytest.mark.spec("COMP-3")
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (StoreUnavailable("data", "disk full"), "disk full"),
        (StoreClosed("data"), "closed"),
        (Overloaded("limits.writer_queue", 1), "writer_queue is full"),
    ],
)
async def test_what_cannot_be_recorded_is_unavailable(world, fault, text):
    world.obligations.faults["put"] = [fault]

    with pytest.raises(StoreUnavailable, match=text):
        await world.duties.record(Obligation("o-1", "errand", b"", START_NS))


async def test_a_defect_of_the_store_is_not_taken_for_its_failure(world):
    world.obligations.faults["put"] = [ZeroDivisionError("boom")]

    with pytest.raises(ZeroDivisionError):
        await world.duties.record(Obligation("o-1", "errand", b"", START_NS))


async def test_the_worker_fulfils_what_is_recorded_at_once(world):
    await world.duties.start()
    await world.resting()

    await world.duties.record(Obligation("o-1", "errand", b"", START_NS))

    await world.errand.began(1)


async def test_the_worker_sleeps_until_the_earliest_is_due(world):
    await world.put(after_s=0.25)
    await world.duties.start()
    await world.resting()

    woken_at = world.clock.waits
    world.clock.advance(0.25)
    await world.errand.began(1)

    assert woken_at == (START_NS + NS_PER_S // 4,)


async def test_the_worker_looks_for_what_others_wrote(world):
    await world.duties.start()
    await world.resting()
    await world.put()

    world.clock.advance(1)

    await world.errand.began(1)


@pytest.mark.spec("COMP-4")
async def test_the_worker_comes_back_when_the_delay_is_over(world):
    world.errand.act = StoreUnavailable("x", "down")
    await world.put()
    await world.duties.start()
    await world.errand.began(1)
    world.errand.act = None
    await until(lambda: START_NS + 100 * MS in world.clock.waits)

    world.clock.advance(0.1)

    await world.errand.began(2)


async def test_the_worker_runs_so_many_at_once_and_no_more(world):
    gate = asyncio.Event()
    world.errand.act = lambda _: gate.wait()
    duties = world.make(concurrency=3)
    duties.add(world.errand)
    for number in range(5):
        await world.put(f"o-{number}")

    await duties.start()
    await world.errand.began(3)
    await world.resting()
    count = len(world.errand.begun)
    gate.set()
    await world.errand.began(5)
    await duties.stop()

    assert count == 3


async def test_more_than_one_batch_is_worked_on(world):
    for number in range(40):
        await world.put(f"o-{number:02}")
    duties = world.make(concurrency=4)
    duties.add(world.errand)

    await duties.start()
    await world.errand.began(40)
    await duties.stop()

    assert await world.left() == []


async def test_stopping_lets_running_ones_finish_and_begins_nothing(world):
    gate = asyncio.Event()
    world.errand.act = lambda _: gate.wait()
    duties = world.make(concurrency=1)
    duties.add(world.errand)
    await world.put("o-1")
    await world.put("o-2")
    await duties.start()
    await world.errand.began(1)

    stopping = asyncio.create_task(duties.stop())
    await asyncio.sleep(0)
    gate.set()
    await stopping

    assert [o.id for o in world.errand.begun] == ["o-1"]
    assert [o.id for o in await world.left()] == ["o-2"]


async def test_it_can_be_started_and_stopped_again(world):
    for name in ("o-1", "o-2"):
        await world.put(name)
        await world.duties.start()
        await world.duties.start()
        await world.errand.began(len(world.errand.begun) + 1)
        await world.duties.stop()
        await world.duties.stop()

    assert [o.id for o in world.errand.begun] == ["o-1", "o-2"]


async def renewed(world, count):
    """Let a third of the lease's time pass, and wait until it was renewed for the nth time."""
    await until(lambda: START_NS + count * 10 * NS_PER_S in world.clock.waits)
    world.clock.advance(10)
    await until(lambda: world.obligations.calls.count("renew") == count)
    return True


@pytest.mark.spec("STO-23")
async def test_a_lease_is_kept_for_as_long_as_it_takes(world):
    """Another process would take what runs longer than its lease, and do it twice at a time."""
    gate = asyncio.Event()
    world.errand.act = lambda _: gate.wait()
    await world.put()
    await world.duties.start()
    await world.errand.began(1)
    other = world.make()
    other.add(Errand())

    counts = [await renewed(world, number) and await other.run_due() for number in range(1, 11)]
    gate.set()

    assert counts == [0] * 10


@pytest.mark.spec("STO-23", "COMP-4")
async def test_what_a_dead_process_had_begun_comes_back(world):
    world.errand.act = lambda _: asyncio.Event().wait()
    await world.put()
    dying = asyncio.create_task(world.duties.run_due())
    await world.errand.began(1)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    successor = world.make()
    successor.add(errand := Errand())

    early = await successor.run_due()
    world.clock.advance(30)
    late = await successor.run_due()

    assert (early, late) == (0, 1)
    assert len(errand.begun) == 1


async def test_what_took_its_place_while_it_ran_is_done_too(world):
    """A timer that is set again by what it fired was closed with the one that had fired."""
    later = Obligation("o-1", "errand", b"again", START_NS + 5 * NS_PER_S)

    async def replace(obligation):
        await world.real.obligations.close(obligation.id)
        await world.real.obligations.put(later)

    world.errand.act = replace
    await world.put()
    await world.duties.run_due()
    world.errand.act = None
    world.clock.advance(5)

    await world.duties.run_due()

    assert world.errand.begun[1:] == [later]


async def test_an_unreachable_store_is_looked_at_again(world, caplog):
    world.obligations.faults["due"] = [StoreUnavailable("data", "down"), ZeroDivisionError("boom")]
    await world.put()

    with caplog.at_level(logging.WARNING):
        await world.duties.start()
        await world.errand.began(1)

    assert world.slept == [0.5, 0.5]
    assert "looking for obligations failed" in caplog.text


async def test_an_outcome_that_could_not_be_recorded_is_recorded_later(world):
    world.obligations.faults["close"] = [StoreUnavailable("data", "down")] * 3
    await world.put()

    await world.duties.run_due()

    assert len(world.errand.begun) == 1
    assert await world.left() == []


async def test_a_closed_store_ends_the_worker(world):
    world.obligations.faults["due"] = [StoreClosed("data")]

    await world.duties.start()
    await until(lambda: world.obligations.calls)
    await world.duties.stop()

    assert world.obligations.calls == ["due"]


async def test_a_store_that_closes_meanwhile_leaves_it_for_the_next_start(world):
    world.obligations.faults["close"] = [StoreClosed("data")]
    await world.put()

    await world.duties.run_due()

    assert [o.id for o in await world.left()] == ["o-1"]


@pytest.mark.spec("COMP-4")
async def test_what_was_recorded_survives_a_restart(tmp_path):
    clock = ManualClock()
    first = open_stores(f"rocksdb://{tmp_path}", clock=clock)
    await Duties(first, clock).record(Obligation("o-1", "errand", b"payload", clock.now_ns()))
    await first.close()
    second = open_stores(f"rocksdb://{tmp_path}", clock=clock)
    duties = Duties(second, clock)
    duties.add(errand := Errand())

    await duties.start()
    await errand.began(1)
    await duties.stop()
    left = await second.obligations.due(2**62)
    await second.close()

    assert errand.begun == [Obligation("o-1", "errand", b"payload", clock.now_ns())]
    assert left == []


async def test_a_renewal_that_fails_is_logged_and_made_later(world, caplog):
    gate = asyncio.Event()
    world.errand.act = lambda _: gate.wait()
    world.obligations.faults["renew"] = [StoreUnavailable("data", "down")]
    await world.put()
    await world.duties.start()
    await world.errand.began(1)

    with caplog.at_level(logging.WARNING):
        await renewed(world, 1)
        await renewed(world, 2)
    gate.set()

    assert "renewing the lease of o-1 failed" in caplog.text
