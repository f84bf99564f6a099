"""ReactionService: what it takes, runs and refuses."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest

from angzarr import wire
from angzarr.coordinators.flow import Outcome
from angzarr.coordinators.turns import Turns
from angzarr.cover import Cover
from angzarr.errors import CommandRejected, InvalidInput
from angzarr.ports.components import CallContext, Subscription
from angzarr.rpc.reactions import REACTIONS, reaction_rpcs

ROOT = bytes(range(16))
COVER = Cover("order", ROOT, "what-if", "c-1")
CONTEXT = CallContext(None, {"angzarr-cascade-depth": "3"})


class Saga:
    """Keeps what it is asked; `outcome` is its answer."""

    name, consumer = "saga:shipping", "saga-shipping"
    subscriptions = (Subscription("order", ("Paid",)),)

    def __init__(self) -> None:
        self.seen: list[tuple[wire.EventBook, Any]] = []
        self.outcome = Outcome()
        self.hold = asyncio.Event()
        self.hold.set()

    async def react(self, book: bytes, flow: Any) -> Outcome:
        self.seen.append((wire.EventBook.FromString(book), flow))
        await self.hold.wait()
        return self.outcome


class Projector:
    """Answers with a projection a book, or with none."""

    name, consumer = "projector:orders", "projector-orders"
    subscriptions, editions, is_synchronous = (Subscription("order"),), None, True

    def __init__(self) -> None:
        self.answer: bytes | None = wire.Projection(projector="orders").SerializeToString()

    async def project(self, book: bytes, context: CallContext) -> bytes | None:
        return self.answer


class Service:
    """The methods of one service, called without a wire."""

    def __init__(self) -> None:
        self.saga, self.projector, self.turns = Saga(), Projector(), Turns()
        components, projectors = {"saga:shipping": self.saga}, {"projector:orders": self.projector}
        rpcs = reaction_rpcs(components, self.turns, projectors)
        assert {rpc.service for rpc in rpcs} == {REACTIONS}
        self.calls: dict[str, Any] = {rpc.method: rpc.unary or rpc.both for rpc in rpcs}

    async def react(self, request: wire.ReactRequest) -> wire.ReactResponse:
        answer = await self.calls["React"](request.SerializeToString(), CONTEXT)
        return wire.ReactResponse.FromString(answer)

    def converse(self, method: str, *requests: Any) -> AsyncIterator[bytes]:
        async def sent() -> AsyncIterator[bytes]:
            for request in requests:
                yield request.SerializeToString()

        answers: AsyncIterator[bytes] = self.calls[method](sent(), CONTEXT)
        return answers


@pytest.fixture
async def service() -> Service:
    return Service()


def book(*types: str) -> wire.EventBook:
    made = wire.EventBook(next_sequence=7 + len(types))
    cover = made.cover
    cover.domain, cover.root.value, cover.correlation_id = "order", ROOT, "c-1"
    cover.edition.name = "what-if"
    for index, name in enumerate(types):
        page = made.pages.add()
        page.header.sequence = 7 + index
        page.event.type_url = f"type.googleapis.com/shop.{name}"
    return made


def request(**more: Any) -> wire.ReactRequest:
    return wire.ReactRequest(**{"component": "saga:shipping", "book": book("Paid"), **more})


async def test_the_flow_is_that_of_the_caller(service: Service) -> None:
    await service.react(request(sync_mode=2, cascade_error_mode=3, cascade_id="k-1"))

    [(seen, flow)] = service.saga.seen
    assert seen == book("Paid")
    assert (flow.sync_mode, flow.error_mode, flow.cascade_id, flow.context) == (
        2, 3, "k-1", CONTEXT,
    )  # fmt: skip


@pytest.mark.spec("WIRE-2")
async def test_unknown_modes_are_0(service: Service) -> None:
    await service.react(request(sync_mode=77, cascade_error_mode=77))

    [(_, flow)] = service.saga.seen
    assert (flow.sync_mode, flow.error_mode) == (0, 0)


async def test_the_outcome_is_the_answer(service: Service) -> None:
    service.saga.outcome = Outcome(failure=CommandRejected("no trucks"))

    answer = await service.react(request())

    assert (answer.failure.code, answer.failure.kind, answer.failure.message) == (
        "FAILED_PRECONDITION", "rejected", "no trucks",
    )  # fmt: skip


@pytest.mark.spec("SAGA-3")
async def test_a_component_gets_what_it_subscribes_whoever_calls(service: Service) -> None:
    await service.react(request(book=book("Opened", "Paid")))

    [(seen, _)] = service.saga.seen
    assert [page.header.sequence for page in seen.pages] == [8]


@pytest.mark.spec("SAGA-3")
@pytest.mark.parametrize("types", [(), ("Opened",)])
async def test_nothing_that_is_subscribed_is_done_at_once(
    service: Service, types: tuple[str, ...]
) -> None:
    assert await service.react(request(book=book(*types))) == wire.ReactResponse()
    assert service.saga.seen == []


@pytest.mark.spec("SYNC-10")
async def test_it_waits_for_the_logs_delivery_of_the_same_book(service: Service) -> None:
    async with service.turns.book("saga-shipping", COVER, 7):
        # In a context of its own: who has a turn may have it again.
        waiting = contextvars.Context()
        call = asyncio.get_running_loop().create_task(service.react(request()), context=waiting)
        other = request(book=book("Paid"))
        other.book.pages[0].header.sequence = 9
        await service.react(other)
        for _ in range(10):
            await asyncio.sleep(0)
        seen = len(service.saga.seen)
    await call

    assert (seen, len(service.saga.seen)) == (1, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"component": "saga:other"},
        {"component": "projector:orders"},
        {"book": wire.EventBook()},
        {"cascade_id": "no id"},
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused(service: Service, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await service.react(request(**wrong))

    assert service.saga.seen == []


async def test_an_unknown_component_is_told_which_there_are(service: Service) -> None:
    with pytest.raises(InvalidInput, match="those that run here: saga:shipping"):
        await service.react(request(component="saga:other"))


@pytest.mark.parametrize("method", ["Attend", "Project"])
async def test_a_call_begins_with_a_message(service: Service, method: str) -> None:
    with pytest.raises(InvalidInput, match="a first"):
        [answer async for answer in service.converse(method)]


@pytest.mark.parametrize("method", ["Attend", "Project"])
async def test_a_call_begins_with_a_component_of_its_kind(service: Service, method: str) -> None:
    other = {"Attend": "projector:orders", "Project": "saga:shipping"}[method]
    first = getattr(wire, f"{method}Request")(component=other, cover=book().cover)

    with pytest.raises(InvalidInput, match="component"):
        [answer async for answer in service.converse(method, first)]


@pytest.mark.spec("PROJ-16")
async def test_each_message_of_project_has_its_answer(service: Service) -> None:
    first = wire.ProjectRequest(component="projector:orders", cover=book().cover)
    second = wire.ProjectRequest(book=book("Paid"))

    answers = [answer async for answer in service.converse("Project", first, second)]

    parsed = [wire.ProjectResponse.FromString(answer) for answer in answers]
    assert [answer.HasField("projection") for answer in parsed] == [False, True]
    assert parsed[1].projection.projector == "orders"


async def test_nothing_new_is_no_projection(service: Service) -> None:
    service.projector.answer = None
    first = wire.ProjectRequest(component="projector:orders", cover=book().cover)
    second = wire.ProjectRequest(book=book("Paid"))

    answers = [answer async for answer in service.converse("Project", first, second)]

    assert not wire.ProjectResponse.FromString(answers[1]).HasField("projection")


@pytest.mark.spec("PROJ-7")
async def test_a_turn_is_for_its_own_stream(service: Service) -> None:
    first = wire.ProjectRequest(component="projector:orders", cover=book().cover)
    other = book("Paid")
    other.cover.edition.name = "angzarr"

    with pytest.raises(InvalidInput, match="of the stream"):
        [_ async for _ in service.converse("Project", first, wire.ProjectRequest(book=other))]
