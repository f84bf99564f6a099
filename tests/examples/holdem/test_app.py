"""What the rules of poker refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from angzarr.examples.holdem.app import Hand
from angzarr.examples.holdem.messages import (
    BetOrRaise,
    BetOrRaised,
    CheckedOrCalled,
    CheckOrCall,
    DealBoard,
    DealHole,
    Fold,
    Folded,
    HandFinished,
    HandStarted,
    HoleDealt,
    Setup,
    StartHand,
)
from angzarr.testing import given

SETUP = Setup(
    variant="NT",
    players=("alice", "bob"),
    starting_stacks=(100, 100),
    antes=(0, 0),
    blinds_or_straddles=(1, 2),
    min_bet=2,
)
STARTED = (HandStarted("a hand", SETUP),)
DEALT = (*STARTED, HoleDealt(1, "AhAs"), HoleDealt(2, "KhKs"))


def test_a_hand_starts_with_its_setup():
    given(Hand).when(StartHand("a hand", SETUP)).then(*STARTED)


def test_a_hand_starts_once():
    given(Hand, *STARTED).when(StartHand("a hand", SETUP)).then_rejected("has started")


@pytest.mark.parametrize(
    "setup",
    [
        replace(SETUP, variant="??"),
        replace(SETUP, min_bet=None),
        replace(SETUP, min_bet=0),
        replace(SETUP, starting_stacks=(100, 0)),
    ],
)
def test_a_setup_that_can_not_be_played_is_refused(setup: Setup):
    given(Hand).when(StartHand("a hand", setup)).then_rejected("can't be set up")


def test_each_player_needs_a_stack():
    setup = replace(SETUP, starting_stacks=(100, 100, 100))

    given(Hand).when(StartHand("a hand", setup)).then_rejected("one stack")


def test_nothing_is_played_before_the_start():
    given(Hand).when(Fold(1)).then_rejected("has not started")


def test_nobody_bets_before_the_deal():
    given(Hand, *STARTED).when(BetOrRaise(2, 6)).then_rejected("p2 cbr 6")


def test_only_the_player_whose_turn_it_is_acts():
    given(Hand, *DEALT).when(Fold(1)).then_rejected("p1")


def test_the_board_is_not_dealt_before_the_betting_is_over():
    given(Hand, *DEALT).when(DealBoard("2h3h4h")).then_rejected("d db")


@pytest.mark.parametrize("to", [3, 101])
def test_a_raise_has_its_limits(to: int):
    given(Hand, *DEALT).when(BetOrRaise(2, to)).then_rejected("p2 cbr")


def test_cards_that_are_none_are_refused():
    given(Hand, *STARTED).when(DealHole(1, "Zz9x")).then_rejected("d dh p1")


def test_a_call_tells_its_amount():
    given(Hand, *DEALT).when(CheckOrCall(2)).then(CheckedOrCalled(2, 1))


def test_a_fold_that_leaves_one_player_finishes_the_hand():
    given(Hand, *DEALT, BetOrRaised(2, 10)).when(Fold(1)).then(
        Folded(1), HandFinished(stacks=(98, 102), payoffs=(-2, 2))
    )


def test_a_finished_hand_is_finished():
    finished = HandFinished(stacks=(98, 102), payoffs=(-2, 2))

    given(Hand, *DEALT, BetOrRaised(2, 10), Folded(1), finished).when(Fold(2)).then_rejected(
        "finished"
    )
