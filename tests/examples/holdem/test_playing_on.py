"""Hands that are left at some point, and go on to their end."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from angzarr.examples.holdem.folding import Decision, decisions, loser_of
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand, published_hands
from angzarr.examples.holdem.messages.game import Setup
from angzarr.examples.holdem.messages.hand import (
    Action,
    BetOrRaise,
    CheckOrCall,
    DealBoard,
    Fold,
    ShowOrMuck,
    StartHand,
)
from angzarr.examples.holdem.playing_on import PlayingOn

HANDS = {hand.name: hand for hand in published_hands()}
DWAN_IVEY = HANDS["dwan-ivey-2009"]
IVEY, ANTONIUS, DWAN = 1, 2, 3


def decided(hand: Hand, command: object) -> None:
    """Have the hand decide on a command, and take in what comes of it."""
    table = Hand.table()
    method = next(m for m in table.commands.values() if m.payload.cls is type(command))
    answer = method.function(hand, command)
    for event in answer if isinstance(answer, list) else [answer]:
        table.record(hand, event)


def played(published: PublishedHand, count: int) -> Hand:
    """The hand after its first actions."""
    hand = Hand()
    setup = Setup(published.game, published.players, published.starting_stacks)
    decided(hand, StartHand(published.table, published.name, setup))
    for action in published.actions[:count]:
        decided(hand, action)
    return hand


def played_on(hand: Hand, rest: tuple[Action, ...]) -> list[Action]:
    """What is done until the hand is over."""
    going_on, done = PlayingOn(rest, Random(1)), []
    while action := going_on.next(hand.state):
        decided(hand, action)
        done.append(action)
    return done


def folded(published: PublishedHand, decision: Decision) -> tuple[Hand, list[Action]]:
    """The hand with a fold in place of a decision, and what came then."""
    hand = played(published, decision.sequence - 1)
    decided(hand, Fold(decision.player))
    return hand, played_on(hand, published.actions[decision.sequence :])


def games() -> Iterator[PublishedHand]:
    """Hands of each game, as many as show what differs."""
    by_game: dict[str, list[PublishedHand]] = {}
    for hand in HANDS.values():
        by_game.setdefault(hand.game.variant, []).append(hand)
    for hands in by_game.values():
        yield from hands[:3]


@pytest.mark.parametrize(
    "published", list(games()), ids=lambda hand: f"{hand.game.variant}-{hand.name}"
)
def test_every_decision_of_the_loser_can_be_a_fold(published: PublishedHand) -> None:
    player = loser_of(published)

    for decision in decisions(published, player):
        hand, _ = folded(published, decision)

        assert sum(hand.payoffs) == 0
        assert hand.payoffs[player - 1] <= 0


def test_who_folded_next_folds():
    _, done = folded(DWAN_IVEY, decisions(DWAN_IVEY, IVEY)[0])

    assert done == [Fold(ANTONIUS)]


def test_who_raised_next_calls_or_checks():
    """Dwan's fold is put in the place of a call; Ivey's raises after that are checks."""
    hand = played(DWAN_IVEY, 6)
    decided(hand, CheckOrCall(DWAN))

    done = played_on(hand, DWAN_IVEY.actions[7:])

    assert not any(isinstance(action, BetOrRaise | Fold) for action in done)
    assert [a.cards for a in done if isinstance(a, DealBoard)] == ["Jc3d5c", "4h", "Jh"]
    assert hand.payoffs == (-23_500, -2_500, 26_000)


def test_cards_that_were_never_dealt_are_dealt_from_the_deck():
    hand = played(DWAN_IVEY, 6)
    decided(hand, CheckOrCall(DWAN))

    done = played_on(hand, ())

    boards = "".join(action.cards for action in done if isinstance(action, DealBoard))
    board = {boards[i : i + 2] for i in range(0, len(boards), 2)}
    assert len(board) == 5
    assert not board & {"Ac", "2d", "7h", "6h"}


def test_a_hand_that_nobody_knows_is_shown_with_cards_that_nobody_has():
    hand = played(DWAN_IVEY, 5)
    decided(hand, CheckOrCall(ANTONIUS))
    decided(hand, CheckOrCall(DWAN))

    done = played_on(hand, ())

    shown = {action.player: action.cards for action in done if isinstance(action, ShowOrMuck)}
    assert shown[IVEY] == "Ac2d"
    assert len(shown[ANTONIUS]) == 4
    assert "?" not in shown[ANTONIUS]


def test_the_same_chance_gives_the_same_hand():
    hands = [played(DWAN_IVEY, 6) for _ in range(2)]

    first, second = (played_on(hand, ()) for hand in hands)

    assert first == second
