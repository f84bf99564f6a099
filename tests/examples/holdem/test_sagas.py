"""What follows from an event elsewhere, and at which player, table or hand."""

from __future__ import annotations

import pytest

from angzarr import Send
from angzarr.examples.holdem.dealer import Dealer
from angzarr.examples.holdem.messages.game import Game, Setup
from angzarr.examples.holdem.messages.hand import HandFinished, StartHand
from angzarr.examples.holdem.messages.player import FundsReserved, ReleaseFunds, ReserveFunds
from angzarr.examples.holdem.messages.table import (
    HandOpened,
    PlayerLeft,
    SeatPlayer,
    SeatReserved,
    SettleHand,
)
from angzarr.examples.holdem.sagas import Cashier, Payout, Usher
from angzarr.examples.holdem.table import Table
from angzarr.handlers import sagas_of
from angzarr.testing import given

SETUP = Setup(Game("NT", (0, 0), (1, 2), min_bet=2), ("alice", "bob"), (100, 80))


def test_who_joins_a_table_has_the_buy_in_reserved():
    given(Cashier).when(SeatReserved("green", "alice", 1, 100), root="green").then(
        Send(ReserveFunds("alice", "green", 100), root="alice")
    )


def test_who_leaves_a_table_has_the_stack_released():
    given(Cashier).when(PlayerLeft("green", "alice", 180), root="green").then(
        Send(ReleaseFunds("green", 180), root="alice")
    )


def test_who_leaves_and_joins_again_is_paid_out_first():
    events = (PlayerLeft("green", "alice", 180), SeatReserved("green", "alice", 1, 150))

    given(Cashier).when(*events, root="green").then(
        Send(ReleaseFunds("green", 180), root="alice"),
        Send(ReserveFunds("alice", "green", 150), root="alice"),
    )


def test_whose_funds_are_reserved_is_seated_with_as_many_chips():
    given(Usher).when(FundsReserved("alice", "green", 100), root="alice").then(
        Send(SeatPlayer("green", "alice", 100), root="green")
    )


def test_a_hand_that_was_opened_is_dealt():
    given(Dealer).when(HandOpened("green", "hand-1", SETUP), root="green").then(
        Send(StartHand("green", "hand-1", SETUP), root="hand-1")
    )


def test_a_finished_hand_is_settled_at_its_table():
    finished = HandFinished("green", "hand-1", ("alice", "bob"), (180, 0), (80, -80), (160, 0))

    given(Payout).when(finished, root="hand-1").then(
        Send(SettleHand("hand-1", ("alice", "bob"), (180, 0)), root="green")
    )


@pytest.mark.spec("DEP-8")
def test_the_dealer_is_wherever_tables_are():
    assert sagas_of(Table) == (Dealer,)
