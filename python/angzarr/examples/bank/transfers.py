"""Transfers between accounts: what leaves one is credited to the other, and then settled.

An account that does not take the money refuses `Credit`; the sender's account hears of that in its
`@rejected` method, and gives it back.
"""

from __future__ import annotations

from angzarr import Saga, Send, Trigger, handles
from angzarr.examples.bank.full import (
    Account,
    Credit,
    Settle,
    TransferReceived,
    TransferSent,
)


class Transfers(Saga, source=Account, targets=[Account]):
    """Both commands are for another account than the event's, wherever that is by then."""

    @handles
    def on_sent(self, event: TransferSent, at: Trigger) -> Send:
        credit = Credit(event.reference, at.root, event.sender_name, event.amount_cents)
        return Send(credit, root=event.to, at_head=True)

    @handles
    def on_received(self, event: TransferReceived) -> Send:
        return Send(Settle(event.reference), root=event.sender, at_head=True)
