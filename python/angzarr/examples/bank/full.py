"""A fuller account: it is opened for an owner, refuses what it must, and pays other accounts.

A transfer takes the money from the sender at once. It is in transit until the other account has
credited it, or has refused to and the money is given back; both end it in the sender's stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from angzarr import Aggregate, Rejection, applies, command, reject, rejected


@dataclass(frozen=True)
class Open:
    owner: str
    limit_cents: int = 0


@dataclass(frozen=True)
class Deposit:
    amount_cents: int


@dataclass(frozen=True)
class Withdraw:
    amount_cents: int


@dataclass(frozen=True)
class Transfer:
    """Pay `to`, another account. reference: the sender's own name for the payment."""

    reference: str
    to: str
    amount_cents: int


@dataclass(frozen=True)
class Credit:
    """A transfer arrives. sender: the root of the account that paid; sender_name: its owner."""

    reference: str
    sender: bytes
    sender_name: str
    amount_cents: int


@dataclass(frozen=True)
class Settle:
    """A transfer from here has been credited."""

    reference: str


@dataclass(frozen=True)
class ReportDelay:
    """A transfer from here takes longer than was promised."""

    reference: str


@dataclass(frozen=True)
class Close:
    on: date


@dataclass(frozen=True)
class Opened:
    owner: str
    limit_cents: int


@dataclass(frozen=True)
class Deposited:
    amount_cents: int


@dataclass(frozen=True)
class Withdrawn:
    amount_cents: int


@dataclass(frozen=True)
class TransferSent:
    reference: str
    to: str
    amount_cents: int
    sender_name: str


@dataclass(frozen=True)
class TransferReceived:
    reference: str
    sender: bytes
    sender_name: str
    amount_cents: int


@dataclass(frozen=True)
class TransferSettled:
    reference: str
    amount_cents: int


@dataclass(frozen=True)
class TransferReturned:
    reference: str
    amount_cents: int
    reason: str


@dataclass(frozen=True)
class TransferDelayed:
    reference: str


@dataclass(frozen=True)
class Closed:
    on: date


class Account(Aggregate, domain="account"):
    """owner: "" until it is opened. limit_cents: how far the balance may go below zero. in_transit:
    the cents of each transfer from here that has not ended, by its reference."""

    owner: str = ""
    limit_cents: int = 0
    balance_cents: int = 0
    in_transit: dict[str, int] = {}
    closed_on: date | None = None

    @command
    def open(self, cmd: Open) -> Opened:
        if self.owner:
            reject(f"the account is {self.owner}'s")
        if not cmd.owner:
            reject("an account needs an owner")
        return Opened(cmd.owner, cmd.limit_cents)

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        self._require_open(cmd.amount_cents)
        return Deposited(cmd.amount_cents)

    @command(merge="strict")
    def withdraw(self, cmd: Withdraw) -> Withdrawn:
        self._require_funds(cmd.amount_cents)
        return Withdrawn(cmd.amount_cents)

    @command(merge="strict")
    def transfer(self, cmd: Transfer) -> TransferSent:
        self._require_funds(cmd.amount_cents)
        if cmd.reference in self.in_transit:
            reject(f"transfer {cmd.reference} is in transit already")
        return TransferSent(cmd.reference, cmd.to, cmd.amount_cents, self.owner)

    @command
    def credit(self, cmd: Credit) -> TransferReceived:
        self._require_open(cmd.amount_cents)
        return TransferReceived(cmd.reference, cmd.sender, cmd.sender_name, cmd.amount_cents)

    @rejected
    def give_back(self, rejection: Rejection[Credit]) -> TransferReturned:
        """The other account did not take it."""
        reference = rejection.command.reference
        return TransferReturned(reference, self.in_transit[reference], rejection.reason)

    @command
    def settle(self, cmd: Settle) -> TransferSettled:
        if cmd.reference not in self.in_transit:
            reject(f"no transfer {cmd.reference} is in transit")
        return TransferSettled(cmd.reference, self.in_transit[cmd.reference])

    @command
    def report_delay(self, cmd: ReportDelay) -> TransferDelayed | None:
        """Nothing is left to report if it has ended meanwhile."""
        return TransferDelayed(cmd.reference) if cmd.reference in self.in_transit else None

    @command
    def close(self, cmd: Close) -> list[Withdrawn | Closed]:
        """Pays out what is left, and closes."""
        self._require_open()
        if self.balance_cents < 0:
            reject(f"the owner owes {-self.balance_cents} cents")
        if self.in_transit:
            reject(f"transfers are in transit: {', '.join(self.in_transit)}")
        rest = [Withdrawn(self.balance_cents)] if self.balance_cents else []
        return [*rest, Closed(cmd.on)]

    @applies
    def opened(self, event: Opened) -> None:
        self.owner = event.owner
        self.limit_cents = event.limit_cents

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents

    @applies
    def withdrawn(self, event: Withdrawn) -> None:
        self.balance_cents -= event.amount_cents

    @applies
    def sent(self, event: TransferSent) -> None:
        self.balance_cents -= event.amount_cents
        self.in_transit[event.reference] = event.amount_cents

    @applies
    def received(self, event: TransferReceived) -> None:
        self.balance_cents += event.amount_cents

    @applies
    def settled(self, event: TransferSettled) -> None:
        self.in_transit.pop(event.reference, None)

    @applies
    def returned(self, event: TransferReturned) -> None:
        self.in_transit.pop(event.reference, None)
        self.balance_cents += event.amount_cents

    @applies
    def delayed(self, event: TransferDelayed) -> None: ...

    @applies
    def closed(self, event: Closed) -> None:
        self.closed_on = event.on

    def _require_funds(self, amount_cents: int) -> None:
        self._require_open(amount_cents)
        if self.balance_cents + self.limit_cents < amount_cents:
            reject(f"insufficient funds: {self.balance_cents} cents")

    def _require_open(self, amount_cents: int = 1) -> None:
        if not self.owner or self.closed_on is not None:
            reject("the account is not open")
        if amount_cents <= 0:
            reject("an amount is more than zero")
