"""Copies of pokerkit's states."""

from __future__ import annotations

import copy
from collections import deque

import pytest

from angzarr.examples.holdem import rules
from angzarr.examples.holdem.hands import published_hands
from angzarr.examples.holdem.messages.game import Setup
from angzarr.examples.holdem.messages.hand import DealHole

HANDS = {hand.game.variant: hand for hand in published_hands()}


def changed_in_place(value: object) -> list[object]:
    """Everything in it that can be changed in place."""
    if isinstance(value, tuple | list | deque | set | dict):
        found = [inner for each in value for inner in changed_in_place(each)]
        return found if isinstance(value, tuple) else [value, *found]
    return []


@pytest.mark.parametrize("variant", HANDS)
def test_what_is_done_to_a_copy_is_not_done_to_the_state(variant: str) -> None:
    hand = HANDS[variant]
    state = rules.dealt_in(Setup(hand.game, hand.players, hand.starting_stacks))
    before = copy.deepcopy(vars(state))
    deal = next(action for action in hand.actions if isinstance(action, DealHole))

    changed = rules.after(state, f"d dh p{deal.player} {deal.cards}")

    assert len(changed.operations) > len(state.operations)
    compared = [name for name, value in before.items() if changed_in_place(value)]
    assert {name: vars(state)[name] for name in compared} == {n: before[n] for n in compared}


@pytest.mark.parametrize("variant", HANDS)
def test_a_copy_shares_nothing_that_pokerkit_changes_in_place(variant: str) -> None:
    hand = HANDS[variant]
    state = rules.dealt_in(Setup(hand.game, hand.players, hand.starting_stacks))

    copied = rules.copied(state)

    ids = {id(each) for value in vars(state).values() for each in changed_in_place(value)}
    assert ids
    assert not ids & {id(e) for value in vars(copied).values() for e in changed_in_place(value)}
