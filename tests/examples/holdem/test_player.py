"""A player's money: nothing is given that is not there."""

from __future__ import annotations

import pytest

from angzarr.examples.holdem.messages.player import (
    Deposit,
    Deposited,
    FundsReleased,
    FundsReserved,
    Register,
    Registered,
    ReleaseFunds,
    ReserveFunds,
)
from angzarr.examples.holdem.messages.table import SeatPlayer
from angzarr.examples.holdem.player import Player
from angzarr.testing import given

ALICE = (Registered("alice"), Deposited(500))
AT_GREEN = (*ALICE, FundsReserved("alice", "green", 200))


def test_a_player_is_registered_once():
    given(Player, *ALICE).when(Register("alice")).then_rejected("is registered")


def test_a_player_needs_a_name():
    given(Player).when(Register("")).then_rejected("name")


@pytest.mark.parametrize("command", [Deposit(5), ReserveFunds("alice", "green", 5)])
def test_nobody_who_is_not_registered_has_money(command: object):
    given(Player).when(command).then_rejected("nobody is registered")


@pytest.mark.parametrize("amount", [0, -1])
def test_a_deposit_is_more_than_zero(amount: int):
    given(Player, *ALICE).when(Deposit(amount)).then_rejected("more than zero")


def test_a_deposit_is_added_to_the_bankroll():
    given(Player, *ALICE).when(Deposit(5)).then(Deposited(5)).then_state(bankroll=505)


def test_reserved_funds_leave_the_bankroll():
    given(Player, *ALICE).when(ReserveFunds("alice", "green", 200)).then(
        FundsReserved("alice", "green", 200)
    ).then_state(bankroll=300, at_tables={"green": 200})


def test_the_whole_bankroll_may_be_reserved():
    given(Player, *ALICE).when(ReserveFunds("alice", "green", 500)).then_state(bankroll=0)


def test_no_more_than_the_bankroll_is_reserved():
    given(Player, *ALICE).when(ReserveFunds("alice", "green", 501)).then_rejected("not enough")


def test_funds_are_reserved_once_a_table():
    given(Player, *AT_GREEN).when(ReserveFunds("alice", "green", 1)).then_rejected("has chips at")


def test_a_player_plays_at_several_tables():
    given(Player, *AT_GREEN).when(ReserveFunds("alice", "red", 300)).then_state(
        bankroll=0, at_tables={"green": 200, "red": 300}
    )


@pytest.mark.parametrize("amount", [0, 200, 950])
def test_what_comes_back_from_a_table_is_in_the_bankroll(amount: int):
    given(Player, *AT_GREEN).when(ReleaseFunds("green", amount)).then(
        FundsReleased("green", amount)
    ).then_state(bankroll=300 + amount, at_tables={})


def test_nothing_comes_back_from_where_nothing_is():
    given(Player, *AT_GREEN).when(ReleaseFunds("red", 5)).then_rejected("no chips at red")


def test_funds_for_a_seat_that_is_gone_come_back_as_they_are():
    given(Player, *AT_GREEN).when_rejected(
        SeatPlayer("green", "alice", 200), "no seat waits", domain="table"
    ).then(FundsReleased("green", 200)).then_state(bankroll=500, at_tables={})
