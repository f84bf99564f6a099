"""Aggregates behind the CommandHandler port."""

from __future__ import annotations

import pytest
from bank import (
    DOMAIN,
    Account,
    Break,
    Deposit,
    Deposited,
    Move,
    Noted,
    answer,
    book,
    payloads,
    replayed,
    request,
)
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import Int64Value

from angzarr import Aggregate, applies, codec, command, wire
from angzarr.errors import CommandRejected, CorruptData, HandlerFailed, InvalidInput
from angzarr.handlers import LocalCommandHandler
from angzarr.ports.components import CallContext, CommandHandler


class Timer(Aggregate, domain="timer"):
    """The same API with messages all the way: command, event and state."""

    state: Struct

    @command
    def add(self, cmd: Duration) -> Int64Value:
        return Int64Value(value=cmd.seconds)

    @applies
    def added(self, event: Int64Value) -> None:
        before = self.state["total"] if "total" in self.state else 0  # noqa: SIM401  no get
        self.state["total"] = before + event.value


def snapshot(sequence: int, balance: int) -> wire.Snapshot:
    state = Account(balance=balance)
    states = Account.table().states
    packed = Any(type_url=states.type_url, value=states.encode(state))
    return wire.Snapshot(sequence=sequence, state=packed)


def test_it_is_a_local_command_handler_named_after_its_domain():
    handler: CommandHandler = LocalCommandHandler(Account)

    assert (handler.name, handler.is_local) == ("aggregate:account", True)


async def test_a_command_is_answered_with_its_event():
    response = await answer(Account, book(), Deposit(5))

    assert payloads(response, Deposited) == [Deposited(5)]


async def test_messages_are_answered_as_their_bytes_are_and_stay_as_they_were():
    handler, sent = LocalCommandHandler(Account), request(book(Deposited(1)), Deposit(5))
    asked = wire.ContextualCommand.FromString(sent)

    answered = await handler.decide(asked.events, asked.command, CallContext())

    assert answered.SerializeToString() == await handler.handle(sent, CallContext())
    assert asked == wire.ContextualCommand.FromString(sent)


async def test_new_pages_leave_the_numbering_to_the_coordinator():
    response = await answer(Account, book(Deposited(1)), Deposit(5))

    assert not response.events.pages[0].HasField("header")


async def test_a_command_is_decided_on_the_state_of_the_stream():
    with pytest.raises(CommandRejected, match="balance 12"):
        await answer(Account, book(Deposited(5), Deposited(7)), Deposit(0))


async def test_an_async_method_may_return_many_events():
    response = await answer(Account, book(), Move((1, 2)))

    assert payloads(response, Deposited) == [Deposited(1), Deposited(2)]


@pytest.mark.spec("CMD-30")
async def test_no_events_is_an_empty_book():
    response = await answer(Account, book(), Move(()))

    assert response.WhichOneof("result") == "events"


async def test_each_page_is_decided_on_what_the_earlier_ones_left():
    with pytest.raises(CommandRejected, match="balance 5"):
        await answer(Account, book(), Deposit(5), Deposit(0))


@pytest.mark.spec("WIRE-6", "COMPAT-16")
async def test_a_command_is_found_under_any_prefix():
    contextual = wire.ContextualCommand()
    sent = contextual.command.pages.add().command
    sent.CopyFrom(Any(type_url="x.example/account.Deposit", value=b'{"amount":3}'))

    handled = await LocalCommandHandler(Account).handle(
        contextual.SerializeToString(), CallContext()
    )

    assert b'{"amount":3}' in handled


async def test_an_unknown_command_is_told_with_the_known_ones():
    with pytest.raises(
        InvalidInput, match=r"domain account has no command account\.Deposited.*account\.Deposit,"
    ):
        await answer(Account, book(), Deposited(1))


async def test_a_command_that_does_not_parse_names_its_field():
    contextual = wire.ContextualCommand()
    sent = contextual.command.pages.add().command
    sent.CopyFrom(Any(type_url="account.Deposit", value=b'{"amount":"3"}'))

    with pytest.raises(InvalidInput) as caught:
        await LocalCommandHandler(Account).handle(contextual.SerializeToString(), CallContext())

    assert caught.value.field == "account.Deposit.amount"


async def test_a_request_that_does_not_parse_is_invalid_input():
    with pytest.raises(InvalidInput):
        await LocalCommandHandler(Account).handle(b"\xff", CallContext())


async def test_an_exception_of_the_method_is_the_cause():
    with pytest.raises(HandlerFailed, match=r"Account\.broken.*by design") as caught:
        await answer(Account, book(), Break("raise"))

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("wrong type", "can't be read back"),
        ("apply", "no such note"),
        ("no event", "has no @applies method"),
        ("other", "returned no event"),
    ],
)
async def test_an_event_that_could_not_be_loaded_again_is_refused(how: str, told: str):
    with pytest.raises(HandlerFailed, match=told):
        await answer(Account, book(), Break(how))


async def test_an_exception_while_applying_the_stream_is_the_cause():
    with pytest.raises(HandlerFailed, match=r"applying account\.Noted") as caught:
        await answer(Account, book(Noted("boom")), Deposit(1))

    assert isinstance(caught.value.__cause__, LookupError)


async def test_events_that_the_class_does_not_apply_are_skipped():
    stream = book(Deposited(5))
    stream.pages.add(event=Any(type_url="json.angzarr.io/account.Forgotten", value=b"{"))

    with pytest.raises(CommandRejected, match="balance 5"):
        await answer(Account, stream, Deposit(0))


@pytest.mark.spec("CAS-5")
async def test_framework_events_and_noops_are_skipped():
    stream = book(Deposited(5))
    for name in ("NoOp", "Confirmation", "Revocation"):
        stream.pages.add(event=Any(type_url=f"type.angzarr.io/angzarr.{name}", value=b"\xff"))

    with pytest.raises(CommandRejected, match="balance 5"):
        await answer(Account, stream, Deposit(0))


async def test_a_stored_page_that_does_not_parse_is_corrupt_and_named():
    stream = book(Deposited(5), Deposited(6))
    stream.pages[1].event.value = b"{"

    with pytest.raises(CorruptData, match="page 1 of a stream of account"):
        await answer(Account, stream, Deposit(1))


async def test_a_page_whose_payload_is_elsewhere_is_not_passed_over():
    stream = book(Deposited(5))
    stream.pages[0].external.uri = "file:///elsewhere"

    with pytest.raises(CorruptData, match="page 0"):
        await answer(Account, stream, Deposit(1))


async def test_a_snapshot_is_the_base_of_the_pages_after_it():
    stream = book(Deposited(1000), Deposited(7), first=4)
    stream.snapshot.CopyFrom(snapshot(4, balance=100))

    with pytest.raises(CommandRejected, match="balance 107"):
        await answer(Account, stream, Deposit(0))


async def test_a_snapshot_of_another_type_is_corrupt():
    stream = book()
    stream.snapshot.state.type_url = "account.Other"

    with pytest.raises(CorruptData, match=r"found account\.Other, wanted account\.Account"):
        await answer(Account, stream, Deposit(1))


async def test_a_snapshot_without_a_newer_field_takes_its_default():
    stream = book()
    stream.snapshot.state.CopyFrom(Any(type_url="account.Account", value=b'{"balance":9}'))

    with pytest.raises(CommandRejected, match="balance 9"):
        await answer(Account, stream, Deposit(0))


async def test_two_loads_do_not_share_mutable_defaults():
    await replayed(Account, book(Deposited(5)).pages)

    assert Account().history == []


@pytest.mark.spec("CMD-22")
async def test_replay_gives_the_state_as_an_any():
    state = Any.FromString(await replayed(Account, book(Deposited(5), Noted("a")).pages))

    assert state == Any(
        type_url=f"json.angzarr.io/{Account.table().states.shape}/account.Account",
        value=b'{"balance":5,"history":[5],"notes":{"a":1}}',
    )


async def test_replay_starts_from_the_base_snapshot():
    state = Any.FromString(
        await replayed(Account, book(Deposited(5), first=3).pages, snapshot(2, balance=40))
    )

    assert b'"balance":45' in state.value


async def test_a_state_that_its_annotations_exclude_is_not_handed_out():
    class Loose(Aggregate, domain=DOMAIN):
        amount: int = 0

        @applies
        def deposited(self, event: Deposited) -> None:
            self.amount = str(event.amount)

    with pytest.raises(HandlerFailed, match="encoding the state"):
        await replayed(Loose, book(Deposited(5)).pages)


async def test_messages_work_as_command_event_and_state():
    stream = wire.EventBook()
    stream.pages.add(event=codec.pack(Int64Value(value=5), "timer"))

    response = await answer(Timer, stream, Duration(seconds=7))
    state = Any.FromString(await replayed(Timer, [*stream.pages, *response.events.pages]))

    assert codec.unpack(state, Struct, "timer")["total"] == 12


async def test_a_local_class_with_string_annotations_works():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Ping:
        pass

    @dataclass(frozen=True)
    class Pinged:
        pass

    class Local(Aggregate, domain=DOMAIN):
        @command
        def ping(self, cmd: Ping) -> tuple[Pinged, ...]:
            return (Pinged(), Pinged())

        @applies
        def pinged(self, event: Pinged) -> None: ...

    response = await answer(Local, book(), Ping())

    assert len(response.events.pages) == 2


async def test_a_request_is_not_changed_by_its_handling():
    sent = request(book(Deposited(1)), Deposit(1))

    first = await LocalCommandHandler(Account).handle(sent, CallContext())
    second = await LocalCommandHandler(Account).handle(sent, CallContext())

    assert first == second
