"""Aggregates that hear of their events' failed consequences."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from bank import DOMAIN, Deposited, book, payloads
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import (
    Aggregate,
    Compensation,
    Rejection,
    Revocation,
    applies,
    codec,
    compensates,
    rejected,
    wire,
)
from angzarr.errors import InvalidInput
from angzarr.handlers import LocalCommandHandler
from angzarr.ports.components import CallContext

ROOT = bytes(range(16))


@dataclass(frozen=True)
class Reserve:
    count: int


@dataclass(frozen=True)
class Ship:
    address: str


@dataclass(frozen=True)
class Pay:
    amount: int


class Order(Aggregate, domain=DOMAIN):
    total: int = 0

    @applies
    def deposited(self, event: Deposited) -> None:
        self.total += event.amount

    @rejected
    def not_reserved(self, rejection: Rejection[Reserve]) -> Deposited:
        assert (rejection.domain, rejection.root) == ("stock", ROOT)
        assert rejection.correlation_id == "c-1"
        return Deposited(-rejection.command.count)

    @rejected
    async def not_shipped(self, rejection: Rejection[Ship]) -> Revocation | None:
        if not rejection.command.address:
            return None
        return Revocation(rejection.reason, emit_system_revocation=True, abort=True)

    @rejected
    def others(self, rejection: Rejection) -> tuple[Deposited, ...]:
        assert isinstance(rejection.command, Any)
        return (Deposited(1), Deposited(2))

    @compensates
    def undo(self, compensation: Compensation) -> list[Deposited]:
        assert compensation.reason == "failed elsewhere"
        return [Deposited(-sequence) for sequence in compensation.sequences]


class Deaf(Aggregate, domain=DOMAIN):
    pass


def rejection_of(
    command: object, *, prefix: str = "json.angzarr.io/"
) -> wire.RejectionNotification:
    packed = codec.pack(command, "stock")
    packed.type_url = prefix + codec.full_name(packed.type_url)
    refused = wire.RejectionNotification(rejection_reason="none left")
    cover = refused.rejected_command.cover
    cover.domain, cover.root.value, cover.correlation_id = "stock", ROOT, "c-1"
    refused.rejected_command.pages.add(command=packed)
    return refused


async def told(
    cls: type[Aggregate], payload: Message, prefix: str = "type.googleapis.com/"
) -> wire.BusinessResponse:
    inner = Any(type_url=prefix + payload.DESCRIPTOR.full_name, value=payload.SerializeToString())
    notification = wire.Notification(payload=inner)
    contextual = wire.ContextualCommand(events=book(Deposited(5)))
    contextual.command.pages.add(
        command=Any(
            type_url=prefix + "angzarr.Notification", value=notification.SerializeToString()
        )
    )
    handled = await LocalCommandHandler(cls).handle(contextual.SerializeToString(), CallContext())
    return wire.BusinessResponse.FromString(handled)


@pytest.mark.spec("COMP-2")
async def test_a_rejection_goes_to_the_method_for_the_refused_command():
    response = await told(Order, rejection_of(Reserve(3)))

    assert payloads(response, Deposited) == [Deposited(-3)]


@pytest.mark.spec("COMP-8")
async def test_a_revocation_carries_its_flags():
    response = await told(Order, rejection_of(Ship("here")))

    assert response.revocation == wire.RevocationResponse(
        reason="none left", emit_system_revocation=True, abort=True
    )


@pytest.mark.spec("COMP-11")
async def test_none_is_an_empty_answer():
    response = await told(Order, rejection_of(Ship("")))

    assert response.WhichOneof("result") is None


async def test_other_rejections_go_to_the_plain_method():
    response = await told(Order, rejection_of(Pay(1)))

    assert payloads(response, Deposited) == [Deposited(1), Deposited(2)]


@pytest.mark.spec("SYNC-9")
async def test_a_compensation_names_the_events():
    asked = wire.Compensate(sequences=[0, 2], reason="failed elsewhere")

    response = await told(Order, asked)

    assert payloads(response, Deposited) == [Deposited(0), Deposited(-2)]


@pytest.mark.spec("WIRE-5", "WIRE-6", "COMPAT-13")
@pytest.mark.parametrize("prefix", ["type.googleapis.com/", "type.angzarr.io/", ""])
async def test_notifications_are_known_by_their_full_names(prefix: str):
    response = await told(Order, rejection_of(Reserve(3), prefix=prefix), prefix)

    assert payloads(response, Deposited) == [Deposited(-3)]


@pytest.mark.parametrize("payload", [rejection_of(Reserve(3)), wire.Compensate(), wire.NoOp()])
async def test_a_class_without_methods_answers_nothing(payload: Message):
    response = await told(Deaf, payload)

    assert response.WhichOneof("result") is None


async def test_a_notification_that_does_not_parse_is_invalid_input():
    contextual = wire.ContextualCommand()
    contextual.command.pages.add(command=Any(type_url="angzarr.Notification", value=b"\xff"))

    with pytest.raises(InvalidInput, match="notification"):
        await LocalCommandHandler(Order).handle(contextual.SerializeToString(), CallContext())
