"""What players agree on before the first card; tables and hands speak of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

Chips = int | Decimal
"""Whole, or decimals where a site deals in cents."""


@dataclass(frozen=True)
class Game:
    """variant: pokerkit's code, such as NT for no-limit Texas hold'em.

    antes, blinds_or_straddles: by the order in which players are dealt in. Of the blinds, the
    bring-in and the bets those are None that the variant does not have.
    """

    variant: str
    antes: tuple[Chips, ...]
    blinds_or_straddles: tuple[Chips, ...] | None = None
    bring_in: Chips | None = None
    small_bet: Chips | None = None
    big_bet: Chips | None = None
    min_bet: Chips | None = None
    is_ante_trimmed: bool = False


@dataclass(frozen=True)
class Setup:
    """A game, who plays it in which order, and what each of them brings."""

    game: Game
    players: tuple[str, ...]
    starting_stacks: tuple[Chips, ...]
