"""What the demo shows of its results."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.table import Column, Table

from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.results import HandResult, PlayerResult


def programme(hands: Sequence[PublishedHand]) -> str:
    """What is going to be played."""
    action_count = sum(len(hand.actions) for hand in hands)
    player_count = len({player for hand in hands for player in hand.players})
    table_count = len({hand.table for hand in hands})
    return (
        f"{len(hands)} published hands: {action_count:,} actions of {player_count} players "
        f"at {table_count} tables"
    )


def of_hands(results: Sequence[HandResult]) -> Table:
    """Each hand, with what it paid out to its players."""
    table = Table(Column("hand", no_wrap=True), "game", "events", "paid out", "published", "")
    for result in results:
        table.add_row(
            result.hand.name,
            result.hand.game.variant,
            str(result.event_count),
            " ".join(map(_signed, result.payoffs)),
            " ".join(map(_signed, result.hand.payoffs)),
            _mark(result.is_as_published),
        )
    return table


def of_players(results: Sequence[PlayerResult]) -> Table:
    """The standings, with what the bankrolls have come to."""
    table = Table(
        Column("player", no_wrap=True),
        *(Column(name, justify="right") for name in ("hands", "won", "biggest pot", "net")),
        *(Column(name, justify="right") for name in ("published", "deposited", "bankroll")),
        "",
        title="standings",
    )
    for result in results:
        table.add_row(
            result.standing.player,
            str(result.standing.hands),
            str(result.standing.won),
            _plain(result.standing.biggest_pot),
            _signed(result.standing.net),
            _signed(result.published.net),
            _plain(result.money.deposited),
            _plain(result.money.bankroll),
            _mark(result.is_as_published),
        )
    return table


def summary(hands: Sequence[HandResult], players: Sequence[PlayerResult]) -> str:
    """How many of them are as published, and where the money is."""
    right_hands = sum(result.is_as_published for result in hands)
    right_players = sum(result.is_as_published for result in players)
    deposited = sum(result.money.deposited for result in players)
    bankrolls = sum(result.money.bankroll for result in players)
    at_tables = sum(result.money.at_tables for result in players)
    return (
        f"{right_hands} of {len(hands)} hands paid out as published\n"
        f"{right_players} of {len(players)} players stand as published\n"
        f"deposited: {_plain(deposited)}; in bankrolls: {_plain(bankrolls)}; "
        f"left at tables: {_plain(at_tables)}"
    )


def _mark(is_right: bool) -> str:
    return "[green]✓" if is_right else "[red]differs"


def _signed(chips: Chips) -> str:
    """A result; in thousands (k) where that is exact."""
    return f"{'+' if chips > 0 else ''}{_plain(chips)}"


def _plain(chips: Chips) -> str:
    if not chips:
        return "0"
    if chips % 1000:
        return f"{Decimal(chips).normalize():,f}"
    return f"{int(chips) // 1000:,}k"
