"""Small questions to a store elsewhere, several in one call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from angzarr import wire
from angzarr.cover import Provenance
from angzarr.errors import InvalidInput, StoreUnavailable
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import Limits
from angzarr.ports.stores import Stores
from angzarr.rpc.remote_store import RemoteStores
from angzarr.rpc.services import Rpc
from angzarr.rpc.store import StoreService
from angzarr.rpc.store_batches import (
    ANSWER_BYTES_MAX,
    COUNT_MAX,
    SEVERAL,
    Answers,
    Asked,
    Batches,
    answers_of,
    asked_bytes,
    asked_of,
)
from angzarr.rpc.store_calls import calls
from angzarr.stores import open_stores
from angzarr.testing.pages import cover_of, page, pages

from .served_stores import Host

ALICE, BOB = cover_of("alice"), cover_of("bob")


class Calls:
    """Answers each question with its own arguments. asked: what came in one call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[Asked] = []
        self.is_asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self._error = error

    async def __call__(self, asked: Asked) -> Answers:
        self.asked.append(asked)
        self.is_asked.set()
        await self.gate.wait()
        if self._error is not None:
            raise self._error
        return [arguments for _, arguments in asked]


async def test_questions_of_one_turn_are_one_call_and_each_gets_its_own_answer() -> None:
    several = Calls()
    batches = Batches(several)

    answers = await asyncio.gather(*(batches.ask("positions.get", b"%d" % n) for n in range(3)))

    assert answers == [b"0", b"1", b"2"]
    assert several.asked == [[("positions.get", b"%d" % n) for n in range(3)]]


async def test_a_question_without_company_is_to_be_asked_by_itself() -> None:
    several = Calls()

    assert await Batches(several).ask("positions.get", b"") is None
    assert several.asked == []


async def test_a_call_that_fails_is_told_to_all_who_asked() -> None:
    batches = Batches(Calls(StoreUnavailable("grpc://there:1", "away")))

    answers = await asyncio.gather(
        *(batches.ask("positions.get", b"") for _ in range(2)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]


async def test_nobody_waits_for_one_who_has_given_up() -> None:
    several = Calls()
    several.gate.clear()
    batches = Batches(several)
    asking = [asyncio.create_task(batches.ask("positions.get", b"%d" % n)) for n in range(3)]
    await several.is_asked.wait()

    asking[1].cancel()
    several.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [answers[0], answers[2]] == [b"0", b"2"]
    assert isinstance(answers[1], asyncio.CancelledError)


async def test_what_nobody_waits_for_is_not_asked() -> None:
    several = Calls()
    batches = Batches(several)
    asking = [asyncio.create_task(batches.ask("positions.get", b"")) for _ in range(3)]
    await asyncio.sleep(0)

    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0)

    assert several.asked == []


# The service


@pytest.fixture
async def stores() -> Stores:
    stores = open_stores("memory://")
    await stores.events.append(ALICE, 0, pages(0, 3))
    return stores


async def answered(stores: Stores, *asked: tuple[str, bytes]) -> Answers:
    """What StoreService answers to several questions."""
    service = StoreService(stores, message_bytes_max=1024 * 1024)
    [rpc] = [rpc for rpc in service.rpcs() if rpc.method == "Call"]
    assert rpc.unary is not None
    port, _, method = SEVERAL.partition(".")
    request = wire.StoreCall(port=port, method=method, arguments=asked_bytes(list(asked)))
    answer = await rpc.unary(request.SerializeToString(), CallContext())
    return answers_of(wire.StoreAnswer.FromString(answer).result, len(asked))


def question(name: str, *positional: object, **named: object) -> tuple[str, bytes]:
    return name, calls()[name].arguments(*positional, **named)


@pytest.mark.spec("DEP-11")
async def test_several_questions_are_answered_in_their_order(stores: Stores) -> None:
    name = "events.next_sequence"

    answers = await answered(stores, question(name, ALICE), question(name, BOB))

    assert [calls()[name].result_of(answer or b"") for answer in answers] == [3, 0]


@pytest.mark.spec("DEP-11", "STO-30")
async def test_a_question_that_fails_does_not_fail_the_others(stores: Stores) -> None:
    name = "events.next_sequence"

    answers = await answered(stores, (name, b"\xff"), question(name, ALICE))

    assert answers[0] is None
    assert calls()[name].result_of(answers[1] or b"") == 3


@pytest.mark.spec("DEP-11", "STO-30")
async def test_an_answer_that_is_long_is_not_among_several(stores: Stores) -> None:
    long = page(0, value=bytes(ANSWER_BYTES_MAX))
    key = Provenance(ALICE, 1)
    await stores.events.append(BOB, 0, (long,), provenance=key)

    answers = await answered(
        stores,
        question("events.find_by_provenance", BOB, key),
        question("events.next_sequence", BOB),
    )

    assert [answer is None for answer in answers] == [True, False]


@pytest.mark.spec("DEP-11")
@pytest.mark.parametrize("name", ["positions.put_cursor", "events.tail", "no.method"])
async def test_nothing_else_is_done_among_several(stores: Stores, name: str) -> None:
    assert await answered(stores, (name, b""), question("events.next_sequence", ALICE)) == [
        None,
        calls()["events.next_sequence"].result(3),
    ]


@pytest.mark.parametrize("data", [b"\xff", asked_bytes([("positions.get", b"")] * (COUNT_MAX + 1))])
def test_what_are_no_questions_or_too_many_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        asked_of(data)


# Together


class Counting:
    """Counts the calls of a host's StoreService."""

    def __init__(self, stores: Stores) -> None:
        self.count = 0
        service = StoreService(stores, message_bytes_max=10_240 * 1024)
        self.rpcs = tuple(self._counted(rpc) for rpc in service.rpcs())

    def _counted(self, rpc: Rpc) -> Rpc:
        unary = rpc.unary
        if unary is None:
            return rpc

        async def call(request: bytes, context: CallContext) -> bytes:
            self.count += 1
            return await unary(request, context)

        return Rpc(service=rpc.service, method=rpc.method, unary=call, status=rpc.status)


@pytest.fixture
async def asked_host() -> Any:
    stores = open_stores("memory://", limits=Limits())
    await stores.events.append(ALICE, 0, pages(0, 3))
    host = Host(stores)
    counting = Counting(stores)
    host.rpcs = counting.rpcs
    await host.start()
    yield host, counting
    await host.close()


@pytest.mark.spec("DEP-11")
async def test_questions_that_are_asked_at_once_are_few_calls(asked_host: Any) -> None:
    host, counting = asked_host
    remote: RemoteStores = host.user()

    ends = await asyncio.gather(*(remote.events.next_sequence(ALICE) for _ in range(40)))

    assert ends == [3] * 40
    assert counting.count == 1


@pytest.mark.spec("DEP-11", "STO-30")
async def test_an_error_among_several_comes_as_it_is(asked_host: Any) -> None:
    host, _ = asked_host
    remote: RemoteStores = host.user()
    branch = cover_of("alice", edition="whatif")

    found = await asyncio.gather(
        remote.events.next_sequence(ALICE),
        remote.events.next_sequence(branch, divergence=9),
        return_exceptions=True,
    )

    [expected] = await asyncio.gather(
        host.stores.events.next_sequence(branch, divergence=9), return_exceptions=True
    )
    assert found[0] == 3
    assert (type(found[1]), str(found[1])) == (type(expected), str(expected))
    assert isinstance(expected, Exception)
