"""What the rules of poker refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.messages.game import Game, Setup
from angzarr.examples.holdem.messages.hand import (
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
    StartHand,
)
from angzarr.testing import given

GAME = Game(variant="NT", antes=(0, 0), blinds_or_straddles=(1, 2), min_bet=2)
SETUP = Setup(GAME, players=("alice", "bob"), starting_stacks=(100, 100))
STARTED = HandStarted("green", "hand-1", SETUP)
DEALT = (STARTED, HoleDealt(1, "AhAs"), HoleDealt(2, "KhKs"))
FINISHED = HandFinished(
    "green", "hand-1", ("alice", "bob"), stacks=(98, 102), payoffs=(-2, 2), collected=(0, 4)
)


def test_a_hand_starts_with_its_setup():
    given(Hand).when(StartHand("green", "hand-1", SETUP)).then(STARTED)


def test_a_hand_starts_once():
    given(Hand, STARTED).when(StartHand("green", "hand-1", SETUP)).then_rejected("has started")


@pytest.mark.parametrize(
    "setup",
    [
        replace(SETUP, game=replace(GAME, variant="??")),
        replace(SETUP, game=replace(GAME, min_bet=None)),
        replace(SETUP, game=replace(GAME, min_bet=0)),
        replace(SETUP, starting_stacks=(100, 0)),
    ],
)
def test_a_setup_that_can_not_be_played_is_refused(setup: Setup):
    given(Hand).when(StartHand("green", "hand-1", setup)).then_rejected("can't be set up")


def test_each_player_needs_a_stack():
    setup = replace(SETUP, starting_stacks=(100, 100, 100))

    given(Hand).when(StartHand("green", "hand-1", setup)).then_rejected("one stack")


def test_nothing_is_played_before_the_start():
    given(Hand).when(Fold(1)).then_rejected("has not started")


def test_nobody_bets_before_the_deal():
    given(Hand, STARTED).when(BetOrRaise(2, 6)).then_rejected("p2 cbr 6")


def test_only_the_player_whose_turn_it_is_acts():
    given(Hand, *DEALT).when(Fold(1)).then_rejected("p1")


def test_the_board_is_not_dealt_before_the_betting_is_over():
    given(Hand, *DEALT).when(DealBoard("2h3h4h")).then_rejected("d db")


@pytest.mark.parametrize("to", [3, 101])
def test_a_raise_has_its_limits(to: int):
    given(Hand, *DEALT).when(BetOrRaise(2, to)).then_rejected("p2 cbr")


def test_cards_that_are_none_are_refused():
    given(Hand, STARTED).when(DealHole(1, "Zz9x")).then_rejected("d dh p1")


def test_a_call_tells_its_amount():
    given(Hand, *DEALT).when(CheckOrCall(2)).then(CheckedOrCalled(2, 1))


def test_a_fold_that_leaves_one_player_finishes_the_hand():
    given(Hand, *DEALT, BetOrRaised(2, 10)).when(Fold(1)).then(Folded(1), FINISHED)


def test_what_was_collected_is_what_all_have_put_in_and_was_called():
    """Bob raised to 10, and alice folded her 2: the 8 that nobody called are bob's anyway."""
    outcome = given(Hand, *DEALT, BetOrRaised(2, 10)).when(Fold(1))

    (finished,) = (event for event in outcome.events if isinstance(event, HandFinished))
    assert sum(finished.collected) == 4


def test_a_finished_hand_is_finished():
    given(Hand, *DEALT, BetOrRaised(2, 10), Folded(1), FINISHED).when(Fold(2)).then_rejected(
        "finished"
    )
