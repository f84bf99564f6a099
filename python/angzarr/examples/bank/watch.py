"""A promise to senders: a transfer takes ten seconds at most, or they are told.

One process a transfer; what belongs to one carries the same correlation id, which is the client's
to give: `accounts.send("alice", Transfer(…), correlation_id="rent-2024-02")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from angzarr import Cancel, ProcessManager, Schedule, Send, Trigger, applies, handles, wakes
from angzarr.examples.bank.full import (
    Account,
    ReportDelay,
    TransferReturned,
    TransferSent,
    TransferSettled,
)

PROMISED: Final = timedelta(seconds=10)


@dataclass(frozen=True)
class Began:
    reference: str
    sender: bytes


@dataclass(frozen=True)
class Ended:
    pass


@dataclass(frozen=True)
class Late:
    """What the timer is set with."""


class Watch(ProcessManager, domain="watch", source=Account, targets=[Account]):
    """sender: the root of the account that the transfer is from."""

    reference: str = ""
    sender: bytes = b""
    has_ended: bool = False

    @handles
    def on_sent(self, event: TransferSent, at: Trigger) -> Iterator[Began | Schedule]:
        yield Began(event.reference, at.root)
        yield Schedule("late", Late(), after=PROMISED)

    @handles
    def on_end(self, event: TransferSettled | TransferReturned) -> Iterator[Ended | Cancel]:
        yield Ended()
        yield Cancel("late")

    @wakes
    def on_late(self, due: Late) -> Send | None:
        if self.has_ended:  # just now: a timer may fire while it is being cancelled
            return None
        return Send(ReportDelay(self.reference), root=self.sender, at_head=True)

    @applies
    def began(self, event: Began) -> None:
        self.reference, self.sender = event.reference, event.sender

    @applies
    def ended(self, event: Ended) -> None:
        self.has_ended = True
