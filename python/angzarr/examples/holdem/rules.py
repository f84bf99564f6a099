"""What pokerkit says: the table that a setup makes, and the one that an action leaves."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import cast

from pokerkit import HandHistory, State
from pokerkit.notation import parse_action

from angzarr.examples.holdem.messages import Chips, Setup

UNKNOWN_CARD = "??"


def seated(setup: Setup) -> State:
    """The table with antes and blinds posted. ValueError for a setup that can't be played."""
    if setup.variant not in HandHistory.game_types:
        known = ", ".join(HandHistory.game_types)
        raise ValueError(f"variant {setup.variant!r} is not one of {known}")
    blinds = setup.blinds_or_straddles
    # pokerkit's own annotations say int where it takes any number
    history = HandHistory(
        variant=setup.variant,
        ante_trimming_status=setup.is_ante_trimmed,
        antes=_ints(setup.antes),
        blinds_or_straddles=None if blinds is None else _ints(blinds),
        bring_in=_int(setup.bring_in),
        small_bet=_int(setup.small_bet),
        big_bet=_int(setup.big_bet),
        min_bet=_int(setup.min_bet),
        starting_stacks=_ints(setup.starting_stacks),
        actions=[],
    )
    return history.create_state()


def act(table: State, action: str) -> None:
    """Change `table` by one action in the notation of poker hand histories, such as `p1 cbr 7000`.

    The dealer burns a card where the rules ask for it. Raises ValueError for an action that the
    rules do not allow now.
    """
    if table.can_burn_card():
        table.burn_card(UNKNOWN_CARD)
    parse_action(table, action)


def after(table: State, action: str) -> State:
    """A copy of `table` changed by `action`; ValueError as `act`."""
    changed = copy.deepcopy(table)
    act(changed, action)
    return changed


def _int(chips: Chips | None) -> int | None:
    return cast("int | None", chips)


def _ints(chips: Iterable[Chips]) -> list[int]:
    return cast("list[int]", list(chips))
