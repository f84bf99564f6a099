"""What runs between players, tables and hands.

    table ── SeatReserved, PlayerLeft ──▶ Cashier ── ReserveFunds, ReleaseFunds ──▶ player
    player ── FundsReserved ────────────▶ Usher ──── SeatPlayer ──────────────────▶ table
    table ── HandOpened ────────────────▶ Dealer ─── StartHand ───────────────────▶ hand
    hand ─── HandFinished ──────────────▶ Payout ─── SettleHand ──────────────────▶ table

The Dealer belongs to tables, and is in dealer.py. What is refused goes back to where it came from:
a table gives up the seat of a player who can't pay (`Table.not_funded`), and frees itself of a hand
that can't be played (`Table.not_dealt`); a player whose seat is gone has the funds back
(`Player.not_seated`).
"""

from __future__ import annotations

from angzarr import Saga, Send, handles, routes
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.messages.hand import HandFinished
from angzarr.examples.holdem.messages.player import FundsReserved, ReleaseFunds, ReserveFunds
from angzarr.examples.holdem.messages.table import (
    PlayerLeft,
    SeatPlayer,
    SeatReserved,
    SettleHand,
)
from angzarr.examples.holdem.player import Player
from angzarr.examples.holdem.table import Table


class Cashier(Saga, source=Table, targets=[Player]):
    """Takes the buy-in of those who join, and pays out those who leave.

    One saga for both, since the events of a table come to it in their order: who leaves and joins
    again is paid out first.
    """

    @handles
    def on_reserved(self, event: SeatReserved) -> Send:
        return Send(ReserveFunds(event.player, event.table, event.buy_in))

    @handles
    def on_left(self, event: PlayerLeft) -> Send:
        return Send(ReleaseFunds(event.table, event.stack))

    @routes
    def to_player(self, event: SeatReserved | PlayerLeft) -> str:
        return event.player


class Usher(Saga, source=Player, targets=[Table]):
    """Seats a player whose funds are there."""

    @handles
    def on_funds(self, event: FundsReserved) -> Send:
        return Send(SeatPlayer(event.table, event.player, event.amount))

    @routes
    def to_table(self, event: FundsReserved) -> str:
        return event.table


class Payout(Saga, source=Hand, targets=[Table]):
    """Brings the stacks of a finished hand back to its table."""

    @handles
    def on_finished(self, event: HandFinished) -> Send:
        return Send(SettleHand(event.hand, event.players, event.stacks))

    @routes
    def to_table(self, event: HandFinished) -> str:
        return event.table
