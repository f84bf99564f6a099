"""What pokerkit says: the state that a setup makes, and the one that an action leaves."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, cast

from pokerkit import (
    BetCollection,
    ChipsPushing,
    HandHistory,
    HoleCardsShowingOrMucking,
    State,
)
from pokerkit.notation import parse_action

from angzarr.examples.holdem.messages.game import Chips, Setup

UNKNOWN_CARD = "??"

CHANGED: Final = (list, deque, set)


def dealt_in(setup: Setup) -> State:
    """The hand with antes and blinds posted. ValueError for a setup that can't be played."""
    game = setup.game
    if game.variant not in HandHistory.game_types:
        known = ", ".join(HandHistory.game_types)
        raise ValueError(f"variant {game.variant!r} is not one of {known}")
    blinds = game.blinds_or_straddles
    # pokerkit's own annotations say int where it takes any number
    history = HandHistory(
        variant=game.variant,
        ante_trimming_status=game.is_ante_trimmed,
        antes=_ints(game.antes),
        blinds_or_straddles=None if blinds is None else _ints(blinds),
        bring_in=_int(game.bring_in),
        small_bet=_int(game.small_bet),
        big_bet=_int(game.big_bet),
        min_bet=_int(game.min_bet),
        starting_stacks=_ints(setup.starting_stacks),
        actions=[],
    )
    return history.create_state()


def act(state: State, action: str) -> None:
    """Change `state` by one action in the notation of poker hand histories, such as `p1 cbr 7000`.

    The dealer burns a card where the rules ask for it. Raises ValueError for an action that the
    rules do not allow now.
    """
    if state.can_burn_card():
        state.burn_card(UNKNOWN_CARD)
    if action.endswith(" f"):
        with warnings.catch_warnings():  # pokerkit wonders at who folds where a check is free
            warnings.simplefilter("ignore", UserWarning)
            parse_action(state, action)
    else:
        parse_action(state, action)


def burnt(state: State) -> State:
    """The state once the dealer has burnt a card, if that comes next: then somebody is asked, or is
    dealt to. `state` stays as it is.
    """
    if not state.can_burn_card():
        return state
    changed = copied(state)
    changed.burn_card(UNKNOWN_CARD)
    return changed


def after(state: State, action: str) -> State:
    """A copy of `state` changed by `action`; ValueError as `act`."""
    changed = copied(state)
    act(changed, action)
    return changed


def copied(state: State) -> State:
    """A state of its own.

    Copies what pokerkit changes in place: lists, deques and sets. copy.deepcopy and pickle take
    five to ten times as long, and a hand is copied for every command.
    """
    made = copy.copy(state)
    attributes = vars(made)
    for name, value in attributes.items():
        if isinstance(value, CHANGED):
            attributes[name] = _copied(value)
    return made


def collected(state: State) -> tuple[Chips, ...]:
    """What each player was pushed out of the pots, in a hand that is over.

    pokerkit gives a bet that everybody folded to back as a whole. The part of it that another
    player had matched was in the pot all the same.
    """
    pushed: list[Chips] = [0] * len(state.stacks)
    matched: Chips = 0
    for operation in state.operations:
        if isinstance(operation, BetCollection):
            matched = max(operation.bets)
        elif isinstance(operation, HoleCardsShowingOrMucking):
            matched = 0  # a showdown: all bets are in the pots
        elif isinstance(operation, ChipsPushing):
            pushed = [sum(pair) for pair in zip(pushed, operation.amounts, strict=True)]
    return tuple(chips + matched if chips else chips for chips in pushed)


def _copied(value: Any) -> Any:
    return type(value)(_copied(each) if isinstance(each, CHANGED) else each for each in value)


def _int(chips: Chips | None) -> int | None:
    return cast("int | None", chips)


def _ints(chips: Iterable[Chips]) -> list[int]:
    return cast("list[int]", list(chips))
