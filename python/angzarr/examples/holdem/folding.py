"""What if the loser had folded? Each decision of theirs is forked, in an edition of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from angzarr.caller import Caller
from angzarr.editions import Difference
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.messages.hand import BetOrRaise, CheckOrCall, Fold
from angzarr.examples.holdem.play import TIMEOUT_S
from angzarr.examples.holdem.playing_on import PlayingOn

TTL = timedelta(days=1)
"""How long the editions are there to be looked at."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A player's turn to bet in which they stayed in. sequence: that of its event."""

    sequence: int
    player: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A decision, and what comes of folding instead.

    difference: between main, on the left, and the edition, from the decision on.
    """

    decision: Decision
    edition: str
    difference: Difference

    @property
    def played(self) -> object:
        """The event that the decision really led to."""
        return self.difference.left.events[0].payload

    @property
    def payoff(self) -> Chips:
        """What the player really won, or lost below zero."""
        return _hand(self.difference.left.state).payoffs[self.decision.player - 1]

    @property
    def payoff_folded(self) -> Chips:
        """What it would have been."""
        return self.payoffs_folded[self.decision.player - 1]

    @property
    def payoffs_folded(self) -> Sequence[Chips]:
        """What it would have been, for each player."""
        return _hand(self.difference.right.state).payoffs


def loser_of(hand: PublishedHand) -> int:
    """The player who lost most, counted from 1."""
    return hand.payoffs.index(min(hand.payoffs)) + 1


def decisions(hand: PublishedHand, player: int) -> list[Decision]:
    """The player's decisions, in their order.

    An action's sequence is its number, counted from 1: the hand's start is 0, and every action
    makes one event.
    """
    return [
        Decision(sequence, player)
        for sequence, action in enumerate(hand.actions, 1)
        if isinstance(action, CheckOrCall | BetOrRaise) and action.player == player
    ]


def edition_of(hand: PublishedHand, decision: Decision) -> str:
    """The name of the edition in which the decision is to fold."""
    return f"{hand.name}-fold-at-{decision.sequence}"


async def alternatives(client: Caller, hand: PublishedHand) -> list[Alternative]:
    """Fork a finished hand at each decision of its loser, and compare what comes of it.

    The editions are stored, and expire after TTL. Raises as `Domain.send` and `Editions.diff`.
    """
    found: list[Alternative] = []
    for decision in decisions(hand, loser_of(hand)):
        edition = edition_of(hand, decision)
        await fold(client, hand, decision)
        differences = client.editions.diff("", edition, domain=Hand, root=hand.name)
        found += [Alternative(decision, edition, each) async for each in differences]
    return found


async def fold(client: Caller, hand: PublishedHand, decision: Decision) -> None:
    """Play the hand anew from the decision on, in an edition of its own.

    One that is there from an earlier time is replaced. Raises as `Domain.send`.
    """
    edition = edition_of(hand, decision)
    await client.editions.delete(edition)
    await client.editions.declare(edition, ttl=TTL)
    branch = client.domain(Hand).on(edition, divergence=decision.sequence)
    await branch.send(hand.name, Fold(decision.player), timeout_s=TIMEOUT_S)
    going_on = PlayingOn(hand.actions[decision.sequence :], Random(hand.name))
    while action := going_on.next(_hand(await branch.state(hand.name)).state):
        await branch.send(hand.name, action, timeout_s=TIMEOUT_S)


def _hand(state: object) -> Hand:
    assert isinstance(state, Hand)
    return state
