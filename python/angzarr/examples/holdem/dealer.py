"""The saga that belongs to a table: wherever tables are, it is."""

from __future__ import annotations

from angzarr import Saga, Send, handles, routes
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.messages.hand import StartHand
from angzarr.examples.holdem.messages.table import HandOpened


class Dealer(Saga, source="table", targets=[Hand]):
    """Deals a hand that was opened. If it can't be played, the table hears of it."""

    @handles
    def on_opened(self, event: HandOpened) -> Send:
        return Send(StartHand(event.table, event.hand, event.setup))

    @routes
    def to_hand(self, event: HandOpened) -> str:
        return event.hand
