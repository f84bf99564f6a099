"""Turns at streams: log deliveries and requests of one process (PROJ-7, PROJ-16, SYNC-10)."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from angzarr.coordinators.turns import Turns

from .bus import ALICE, BOB, turns

SAGA = "saga-shipping"


class Steps:
    """Tasks that enter a context one after another; `inside` has those that are in it."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.entered: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def enter(self, name, context):
        """Start a task that enters; it stays until `leave`."""
        self._leave[name] = asyncio.Event()
        # In a context of its own: it was not started by whoever has a turn now.
        work = self._be(name, context)
        self.tasks[name] = asyncio.create_task(work, context=contextvars.Context())
        await turns()

    async def leave(self, name):
        self._leave[name].set()
        await turns()

    async def _be(self, name, context):
        async with context:
            self.inside.append(name)
            self.entered.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)

    async def end(self):
        for event in self._leave.values():
            event.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@pytest.fixture
async def steps():
    made = Steps()
    yield made
    await made.end()


async def _is_done(awaitable) -> bool:
    task = asyncio.ensure_future(awaitable)
    await turns()
    if task.done():
        await task
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


@pytest.mark.spec("PROJ-7", "PROJ-16")
async def test_one_at_a_time_is_alone_with_a_stream(steps):
    made = Turns()
    await steps.enter("first", made.alone("p", ALICE))
    await steps.enter("second", made.alone("p", ALICE))
    assert steps.inside == ["first"]

    await steps.leave("first")

    assert steps.inside == ["second"]


@pytest.mark.spec("PROJ-7")
async def test_turns_are_given_in_the_order_of_asking(steps):
    made = Turns()
    for number in range(5):
        await steps.enter(str(number), made.alone("p", ALICE))

    for number in range(5):
        await steps.leave(str(number))

    assert steps.entered == ["0", "1", "2", "3", "4"]


@pytest.mark.spec("PROJ-16")
@pytest.mark.parametrize(
    ("consumer", "cover"),
    [("q", ALICE), ("p", BOB), ("p", ALICE.on("what-if"))],
)
async def test_other_consumers_and_streams_have_turns_of_their_own(steps, consumer, cover):
    made = Turns()
    await steps.enter("first", made.alone("p", ALICE))

    await steps.enter("second", made.alone(consumer, cover))

    assert steps.inside == ["first", "second"]


@pytest.mark.spec("PROJ-16")
async def test_the_correlation_id_is_no_part_of_a_stream(steps):
    made = Turns()
    named = type(ALICE)(ALICE.domain, ALICE.root, ALICE.edition, "c-1")
    await steps.enter("first", made.alone("p", ALICE))

    await steps.enter("second", made.alone("p", named))

    assert steps.inside == ["first"]


@pytest.mark.spec("PROJ-16")
async def test_who_has_a_turn_may_take_it_again(steps):
    made = Turns()

    async with made.alone("p", ALICE):
        async with made.alone("p", ALICE):
            await steps.enter("other", made.alone("p", ALICE))
        assert steps.entered == []  # the inner one was no end

        async def child():
            async with made.alone("p", ALICE):
                return True

        assert await asyncio.create_task(child())
    await turns()

    assert steps.entered == ["other"]


@pytest.mark.spec("PROJ-16")
async def test_a_task_that_outlives_its_parents_turn_waits_for_its_own(steps):
    made = Turns()
    begin, entered = asyncio.Event(), asyncio.Event()

    async def child():
        await begin.wait()
        async with made.alone("p", ALICE):
            entered.set()

    async with made.alone("p", ALICE):
        task = asyncio.create_task(child())
    await steps.enter("other", made.alone("p", ALICE))
    begin.set()
    await turns()
    assert not entered.is_set()

    await steps.leave("other")
    await task

    assert entered.is_set()


async def test_turns_that_overlap_can_each_be_taken_again():
    made = Turns()
    first, second = made.alone("p", ALICE), made.alone("p", BOB)
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)

    async with made.alone("p", BOB):
        pass

    await second.__aexit__(None, None, None)
    assert await _is_done(_through(made.alone("p", BOB)))


async def _through(context) -> None:
    async with context:
        pass


@pytest.mark.spec("PROJ-16")
async def test_a_waiter_that_gives_up_is_passed_over(steps):
    made = Turns()
    for name in ("first", "second", "third"):
        await steps.enter(name, made.alone("p", ALICE))

    steps.tasks["second"].cancel()
    await steps.leave("first")

    assert steps.inside == ["third"]


@pytest.mark.spec("PROJ-16")
async def test_a_turn_that_came_too_late_goes_on_to_the_next(steps):
    made = Turns()
    for name in ("first", "second", "third"):
        await steps.enter(name, made.alone("p", ALICE))

    steps._leave["first"].set()
    await asyncio.sleep(0)  # the turn is handed to the second one, which has not run since
    steps.tasks["second"].cancel()
    await turns()

    assert steps.inside == ["third"]


@pytest.mark.spec("PROJ-16")
async def test_an_error_gives_the_turn_back(steps):
    made = Turns()

    with pytest.raises(ValueError, match="no"):
        async with made.alone("p", ALICE):
            raise ValueError("no")
    await steps.enter("next", made.alone("p", ALICE))

    assert steps.inside == ["next"]


async def test_nothing_is_kept_of_turns_that_are_over():
    made = Turns()

    async with made.alone("p", ALICE), made.book("p", ALICE, 0), made.intend(["p"], ALICE):
        pass

    assert not made._waiting
    assert not made._intents


@pytest.mark.spec("SYNC-10")
async def test_one_commit_is_worked_on_once_a_time(steps):
    made = Turns()
    await steps.enter("log", made.book(SAGA, ALICE, 5))
    await steps.enter("repeat", made.book(SAGA, ALICE, 5))
    await steps.enter("later", made.book(SAGA, ALICE, 6))
    assert steps.inside == ["log", "later"]

    await steps.leave("log")

    assert "repeat" in steps.inside


@pytest.mark.spec("SYNC-10")
async def test_without_intents_a_stream_is_settled():
    made = Turns()

    assert made.is_settled(SAGA, ALICE, 5)
    assert await _is_done(made.settled(SAGA, ALICE, 5, 5))


@pytest.mark.spec("SYNC-10")
async def test_a_delivery_waits_until_a_request_says_what_it_wrote():
    made = Turns()

    async with made.intend([SAGA], ALICE) as intent:
        waiting = asyncio.create_task(made.settled(SAGA, ALICE, 3, 4))
        await turns()
        assert not waiting.done()
        assert not made.is_settled(SAGA, ALICE, 4)

        intent.wrote(5, 6)
        await turns()

        assert waiting.done()
        assert made.is_settled(SAGA, ALICE, 4)


@pytest.mark.spec("SYNC-10")
@pytest.mark.parametrize(("first", "last"), [(5, 6), (6, 6), (7, 9), (3, 5)])
async def test_pages_that_a_request_works_on_and_later_ones_wait_for_its_end(first, last):
    made = Turns()

    async with made.intend([SAGA], ALICE) as intent:
        intent.wrote(5, 6)
        waiting = asyncio.create_task(made.settled(SAGA, ALICE, first, last))
        await turns()
        assert not waiting.done()
    await turns()

    assert waiting.done()


@pytest.mark.spec("SYNC-10")
async def test_a_request_that_wrote_nothing_holds_nothing_back():
    made = Turns()

    async with made.intend([SAGA], ALICE) as intent:
        intent.wrote(5, 4)

        assert await _is_done(made.settled(SAGA, ALICE, 5, 5))


@pytest.mark.spec("SYNC-10")
async def test_a_request_that_fails_holds_nothing_back():
    made = Turns()

    with pytest.raises(ValueError, match="no"):
        async with made.intend([SAGA], ALICE):
            raise ValueError("no")

    assert made.is_settled(SAGA, ALICE, 5)


@pytest.mark.spec("SYNC-10")
async def test_requests_never_wait_for_each_others_intents():
    made = Turns()

    async with made.intend([SAGA], ALICE), made.intend([SAGA], ALICE), made.intend([SAGA], BOB):
        assert not made.is_settled(SAGA, ALICE, 0)


@pytest.mark.spec("SYNC-10")
async def test_a_stream_that_always_has_a_request_holds_nothing_back_for_ever():
    """Requests that begin after a delivery's pages are in the log write later ones."""
    made = Turns()
    first, second = made.intend([SAGA], ALICE), made.intend([SAGA], ALICE)
    await first.__aenter__()
    waiting = asyncio.create_task(made.settled(SAGA, ALICE, 3, 4))
    await turns()
    await second.__aenter__()

    await first.__aexit__(None, None, None)
    await turns()

    assert waiting.done()
    await second.__aexit__(None, None, None)


@pytest.mark.spec("SYNC-10")
async def test_an_intent_is_for_its_consumers_and_its_stream():
    made = Turns()

    async with made.intend([SAGA, "process-manager-x"], ALICE):
        assert not made.is_settled("process-manager-x", ALICE, 0)
        assert made.is_settled("saga-other", ALICE, 0)
        assert made.is_settled(SAGA, BOB, 0)
        assert made.is_settled(SAGA, ALICE.on("what-if"), 0)


@pytest.mark.spec("SYNC-10")
async def test_a_request_that_wrote_twice_works_on_all_of_it():
    made = Turns()

    async with made.intend([SAGA], ALICE) as intent:
        intent.wrote(5, 6)
        intent.wrote(8, 8)

        assert not made.is_settled(SAGA, ALICE, 6)


@pytest.mark.spec("SYNC-10")
async def test_a_delivery_that_is_cancelled_while_it_waits_harms_nobody():
    made = Turns()

    async with made.intend([SAGA], ALICE) as intent:
        assert not await _is_done(made.settled(SAGA, ALICE, 0, 0))
        intent.wrote(1, 1)

    assert made.is_settled(SAGA, ALICE, 1)
