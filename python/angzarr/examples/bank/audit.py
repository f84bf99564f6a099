"""What the bank's events say of payments, told from the streams alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from angzarr.caller import Caller
from angzarr.examples.bank.full import (
    Account,
    Deposited,
    Opened,
    TransferDelayed,
    TransferReceived,
    TransferReturned,
    TransferSent,
    TransferSettled,
    Withdrawn,
)
from angzarr.examples.bank.payments import TIMEOUT_S, Payment

Movement = tuple[str, str]
"""An account, and the reference of a transfer from or to it."""


@dataclass(slots=True)
class Audit:
    """All that moved.

    sent, received, settled, returned, delayed: how often, by account and reference. balances: cents
    by account. deposited_cents: what came into the bank and is still there. in_transit_cents: of
    transfers that have not ended at the sender. accounts: those that were opened.
    """

    accounts: set[str] = field(default_factory=set[str])

    sent: Counter[Movement] = field(default_factory=Counter[Movement])
    received: Counter[Movement] = field(default_factory=Counter[Movement])
    settled: Counter[Movement] = field(default_factory=Counter[Movement])
    returned: Counter[Movement] = field(default_factory=Counter[Movement])
    delayed: Counter[Movement] = field(default_factory=Counter[Movement])
    balances: Counter[str] = field(default_factory=Counter[str])
    deposited_cents: int = 0
    in_transit_cents: int = 0

    def add(self, account: str, event: object) -> None:
        """Take the next event of an account into the books."""
        match event:
            case Opened():
                self.accounts.add(account)
            case Deposited(cents):
                self.balances[account] += cents
                self.deposited_cents += cents
            case Withdrawn(cents):
                self.balances[account] -= cents
                self.deposited_cents -= cents
            case TransferSent(reference, _, cents):
                self.sent[account, reference] += 1
                self.balances[account] -= cents
                self.in_transit_cents += cents
            case TransferReceived(reference, _, _, cents):
                self.received[account, reference] += 1
                self.balances[account] += cents
            case TransferSettled(reference, cents):
                self.settled[account, reference] += 1
                self.in_transit_cents -= cents
            case TransferReturned(reference, cents):
                self.returned[account, reference] += 1
                self.balances[account] += cents
                self.in_transit_cents -= cents
            case TransferDelayed(reference):
                self.delayed[account, reference] += 1
            case _:
                pass

    @property
    def is_balanced(self) -> bool:
        """Whether all money is on one account or in transit. One that has been credited and is not
        settled yet counts twice, so it is the end that tells."""
        return sum(self.balances.values()) + self.in_transit_cents == self.deposited_cents

    def was_sent(self, payment: Payment) -> bool:
        """Whether its money has left the sender."""
        return bool(self.sent[payment.sender, payment.reference])

    def open_transfers(self) -> set[Movement]:
        """Those that were sent and have not ended."""
        return self.sent.keys() - self.settled.keys() - self.returned.keys()

    def wrong(self, payments: Iterable[Payment]) -> list[str]:
        """References of the payments that did not end as they must: each one taken from its
        sender once; then credited once and settled, or, where it is refused, given back once."""
        return [payment.reference for payment in payments if not self._is_right(payment)]

    def _is_right(self, payment: Payment) -> bool:
        at_sender = payment.sender, payment.reference
        found = (
            self.sent[at_sender],
            self.received[payment.to, payment.reference],
            self.settled[at_sender],
            self.returned[at_sender],
        )
        return found == ((1, 0, 0, 1) if payment.is_refused else (1, 1, 1, 0))


def audited(streams: Mapping[str, Sequence[object]]) -> Audit:
    """The audit of accounts by their names, each with its events in order."""
    audit = Audit()
    for account, events in streams.items():
        for event in events:
            audit.add(account, event)
    return audit


async def audit(client: Caller, accounts: Iterable[str]) -> Audit:
    """The audit of a running bank, as its streams are now."""
    domain, streams = client.domain(Account), dict[str, list[object]]()
    for account in accounts:
        events = domain.events(account, timeout_s=TIMEOUT_S)
        streams[account] = [event.payload async for event in events]
    return audited(streams)
