"""An account that the tests of the handlers share, and helpers to call one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from angzarr import Aggregate, applies, codec, command, reject, wire
from angzarr.codec import Payload
from angzarr.handlers import LocalCommandHandler
from angzarr.ports.components import CallContext

DOMAIN = "account"


@dataclass(frozen=True)
class Deposit:
    amount: int


@dataclass(frozen=True)
class Move:
    amounts: tuple[int, ...]


@dataclass(frozen=True)
class Break:
    how: str


@dataclass(frozen=True)
class Deposited:
    amount: int


@dataclass(frozen=True)
class Noted:
    text: str


class Account(Aggregate, domain=DOMAIN):
    balance: int = 0
    history: list[int] = []
    notes: dict[str, int] = {}
    _seen: list[str] = []

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        if cmd.amount <= 0:
            reject(f"{cmd.amount} is not an amount; balance {self.balance}")
        return Deposited(cmd.amount)

    @command(merge="strict")
    async def move(self, cmd: Move) -> list[Deposited] | None:
        return [Deposited(amount) for amount in cmd.amounts] or None

    @command
    def broken(self, cmd: Break) -> Deposited | Noted:
        match cmd.how:
            case "raise":
                raise ZeroDivisionError("by design")
            case "wrong type":
                return Deposited("much")
            case "apply":
                return Noted("boom")
            case "no event":
                return Deposit(1)
            case _:
                return 3

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.history.append(event.amount)

    @applies
    def noted(self, event: Noted) -> None:
        if event.text == "boom":
            raise LookupError("no such note")
        self.notes[event.text] = self.notes.get(event.text, 0) + 1


def book(*events: Payload, first: int = 0) -> wire.EventBook:
    """A stream of events from sequence `first` on."""
    stream = wire.EventBook(next_sequence=first + len(events))
    for sequence, event in enumerate(events, first):
        page = stream.pages.add(event=codec.pack(event, DOMAIN), committed=True)
        page.header.sequence = sequence
    return stream


def request(events: wire.EventBook, *commands: Payload) -> bytes:
    """An encoded ContextualCommand."""
    contextual = wire.ContextualCommand(events=events)
    for sent in commands:
        contextual.command.pages.add().command.CopyFrom(codec.pack(sent, DOMAIN))
    return contextual.SerializeToString()


async def answer(
    cls: type[Aggregate], events: wire.EventBook, *commands: Payload
) -> wire.BusinessResponse:
    """What the class answers to commands on a stream."""
    handled = await LocalCommandHandler(cls).handle(request(events, *commands), CallContext())
    return wire.BusinessResponse.FromString(handled)


def payloads(response: wire.BusinessResponse, *classes: type) -> list[object]:
    """The decoded events of an answer."""
    kinds = {kind.name: kind for kind in (codec.payload_type(cls, DOMAIN) for cls in classes)}
    pages = response.events.pages
    return [kinds[codec.full_name(p.event.type_url)].decode(p.event.value) for p in pages]


async def replayed(
    cls: type[Aggregate], pages: Sequence[wire.EventPage], base: wire.Snapshot | None = None
) -> bytes:
    """The encoded Any state after pages."""
    asked = wire.ReplayRequest(events=pages, base_snapshot=base)
    done = await LocalCommandHandler(cls).replay(asked.SerializeToString(), CallContext())
    return wire.ReplayResponse.FromString(done).state.SerializeToString()
