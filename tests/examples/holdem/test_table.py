"""A table: seats are paid for, hands are played one after another, chips are kept."""

from __future__ import annotations

import pytest

from angzarr import Revocation
from angzarr.examples.holdem.messages.game import Game, Setup
from angzarr.examples.holdem.messages.hand import StartHand
from angzarr.examples.holdem.messages.player import ReserveFunds
from angzarr.examples.holdem.messages.table import (
    HandCalledOff,
    HandOpened,
    HandSettled,
    Join,
    Leave,
    OpenHand,
    OpenTable,
    PlayerLeft,
    PlayerSeated,
    SeatGivenUp,
    SeatPlayer,
    SeatReserved,
    SettleHand,
    TableOpened,
)
from angzarr.examples.holdem.table import Seat, Table
from angzarr.testing import given

GAME = Game(variant="NT", antes=(0, 0), blinds_or_straddles=(1, 2), min_bet=2)
OPEN = TableOpened("green")
ALICE = SeatReserved("green", "alice", 1, 100)
ALICE_THERE = (OPEN, ALICE, PlayerSeated("alice", 100))
BOTH = (*ALICE_THERE, SeatReserved("green", "bob", 4, 80), PlayerSeated("bob", 80))
SETUP = Setup(GAME, players=("alice", "bob"), starting_stacks=(100, 80))
PLAYING = (*BOTH, HandOpened("green", "hand-1", SETUP))
SETTLED = HandSettled("hand-1", ("alice", "bob"), (180, 0))


def test_a_table_is_opened_once():
    given(Table, OPEN).when(OpenTable("green")).then_rejected("is open")


def test_a_table_needs_a_name():
    given(Table).when(OpenTable("")).then_rejected("name")


def test_nobody_joins_a_table_that_is_not_open():
    given(Table).when(Join("alice", 1, 100)).then_rejected("not open")


def test_who_joins_has_a_seat_reserved():
    given(Table, OPEN).when(Join("alice", 1, 100)).then(ALICE).then_state(
        seats={"alice": Seat(1, 100, stack=None)}
    )


def test_who_has_a_seat_takes_no_other():
    given(Table, *ALICE_THERE).when(Join("alice", 2, 100)).then_rejected("alice has a seat")


def test_a_reserved_seat_is_taken():
    given(Table, OPEN, ALICE).when(Join("bob", 1, 100)).then_rejected("seat 1 is taken")


@pytest.mark.parametrize("buy_in", [0, -5])
def test_a_buy_in_is_more_than_zero(buy_in: int):
    given(Table, OPEN).when(Join("alice", 1, buy_in)).then_rejected("more than zero")


def test_a_player_is_seated_with_the_buy_in():
    given(Table, OPEN, ALICE).when(SeatPlayer("green", "alice", 100)).then(
        PlayerSeated("alice", 100)
    ).then_state(seats={"alice": Seat(1, 100, stack=100)})


@pytest.mark.parametrize(
    "events",
    [(OPEN,), ALICE_THERE, (OPEN, SeatReserved("green", "alice", 1, 90))],
    ids=["no seat", "seated already", "another buy-in"],
)
def test_chips_that_no_seat_waits_for_are_refused(events: tuple[TableOpened, ...]):
    given(Table, *events).when(SeatPlayer("green", "alice", 100)).then_rejected("no seat waits")


def test_the_seat_of_a_player_who_can_not_pay_is_given_up():
    given(Table, OPEN, ALICE).when_rejected(
        ReserveFunds("alice", "green", 100), "not enough", domain="player"
    ).then(SeatGivenUp("alice", "not enough")).then_state(seats={})


@pytest.mark.parametrize("events", [(OPEN,), ALICE_THERE])
def test_a_seat_that_is_not_waiting_is_not_given_up(events: tuple[TableOpened, ...]):
    given(Table, *events).when_rejected(ReserveFunds("alice", "green", 100), domain="player").then(
        Revocation("the seat was given up before")
    )


def test_who_leaves_takes_the_stack_along():
    given(Table, *ALICE_THERE).when(Leave("alice")).then(
        PlayerLeft("green", "alice", 100)
    ).then_state(seats={})


def test_who_leaves_before_the_chips_are_there_gives_the_seat_up():
    given(Table, OPEN, ALICE).when(Leave("alice")).then(
        SeatGivenUp("alice", "left before the chips were there")
    )


def test_nobody_leaves_without_a_seat():
    given(Table, OPEN).when(Leave("alice")).then_rejected("no seat")


def test_nobody_leaves_during_the_hand():
    given(Table, *PLAYING).when(Leave("alice")).then_rejected("alice plays hand-1")


def test_who_has_joined_during_a_hand_may_leave():
    late = (SeatReserved("green", "carol", 5, 50), PlayerSeated("carol", 50))

    given(Table, *PLAYING, *late).when(Leave("carol")).then(PlayerLeft("green", "carol", 50))


@pytest.mark.parametrize(
    ("first_seat", "players", "stacks"),
    [
        (1, ("alice", "bob"), (100, 80)),
        (2, ("bob", "alice"), (80, 100)),
        (4, ("bob", "alice"), (80, 100)),
        (5, ("alice", "bob"), (100, 80)),
    ],
)
def test_a_hand_is_dealt_around_the_table_from_its_first_seat(
    first_seat: int, players: tuple[str, ...], stacks: tuple[int, ...]
):
    given(Table, *BOTH).when(OpenHand("hand-1", GAME, first_seat)).then(
        HandOpened("green", "hand-1", Setup(GAME, players, stacks))
    )


def test_who_has_no_chips_yet_is_not_dealt_in():
    waiting = SeatReserved("green", "carol", 2, 50)

    given(Table, *BOTH, waiting).when(OpenHand("hand-1", GAME, 1)).then(PLAYING[-1])


def test_who_has_no_chips_left_is_not_dealt_in():
    given(Table, *PLAYING, SETTLED).when(OpenHand("hand-2", GAME, 1)).then_rejected("two players")


def test_one_hand_is_played_at_a_time():
    given(Table, *PLAYING).when(OpenHand("hand-2", GAME, 1)).then_rejected("hand-1 is not settled")


def test_a_hand_that_can_not_be_played_is_called_off():
    given(Table, *PLAYING).when_rejected(
        StartHand("green", "hand-1", SETUP), "the hand can't be set up", domain="hand"
    ).then(HandCalledOff("hand-1", "the hand can't be set up")).then_state(hand="", dealt_in=None)


def test_only_the_running_hand_is_called_off():
    given(Table, *PLAYING).when_rejected(StartHand("green", "hand-0", SETUP), domain="hand").then(
        Revocation("another hand is played")
    )


def test_a_settled_hand_gives_the_seats_their_new_stacks():
    given(Table, *PLAYING).when(SettleHand("hand-1", ("alice", "bob"), (180, 0))).then(
        SETTLED
    ).then_state(
        hand="",
        dealt_in=None,
        settled_count=1,
        seats={"alice": Seat(1, 100, stack=180), "bob": Seat(4, 80, stack=0)},
    )


@pytest.mark.parametrize("events", [BOTH, (*PLAYING, SETTLED)])
def test_only_a_running_hand_is_settled(events: tuple[TableOpened, ...]):
    given(Table, *events).when(SettleHand("hand-1", ("alice", "bob"), (180, 0))).then_rejected(
        "not played here"
    )


@pytest.mark.parametrize(
    ("players", "stacks"), [(("bob", "alice"), (0, 180)), (("alice", "bob"), (180,))]
)
def test_a_hand_is_settled_for_those_who_play_it(players: tuple[str, ...], stacks: tuple[int, ...]):
    given(Table, *PLAYING).when(SettleHand("hand-1", players, stacks)).then_rejected(
        "is played by alice, bob"
    )


def test_a_hand_neither_makes_nor_loses_chips():
    given(Table, *PLAYING).when(SettleHand("hand-1", ("alice", "bob"), (181, 0))).then_rejected(
        "lost or made"
    )
