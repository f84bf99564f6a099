"""What the demo shows of its results."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from rich.table import Column, Table

from angzarr.examples.holdem.folding import Alternative, Decision, loser_of
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.messages.hand import BetOrRaised, CheckedOrCalled
from angzarr.examples.holdem.results import HandResult, PlayerResult
from angzarr.examples.holdem.training import Learnt

BAR_COLUMNS = 40
"""Of the longest one."""


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


def question(hand: PublishedHand) -> str:
    """What is asked about a hand."""
    player = loser_of(hand)
    lost = _signed(hand.payoffs[player - 1])
    return (
        f"{hand.players[player - 1]} came out of {hand.name} with {lost}. What if they had folded?"
    )


def of_alternatives(hand: PublishedHand, alternatives: Sequence[Alternative]) -> Table:
    """Each decision that was forked, and what folding would have changed."""
    table = Table(
        Column("edition", no_wrap=True),
        Column("at", justify="right"),
        Column("decision", no_wrap=True),
        *(Column(name, justify="right") for name in ("as played", "if folded", "difference")),
        "then wins",
        Column("events", justify="right"),
        title=f"{hand.name}: {hand.players[loser_of(hand) - 1]} folds",
    )
    for each in alternatives:
        payoffs = each.payoffs_folded
        left, right = each.difference.left.events, each.difference.right.events
        table.add_row(
            each.edition,
            str(each.decision.sequence),
            decided(each.played),
            _signed(each.payoff),
            _signed(each.payoff_folded),
            _signed(each.payoff_folded - each.payoff),
            hand.players[payoffs.index(max(payoffs))],
            f"{len(right)} for {len(left)}",
        )
    return table


def bars(hand: PublishedHand, alternatives: Sequence[Alternative]) -> Table:
    """The payoffs branch by branch, as bars: red is lost, green is won."""
    rows = [("as played", alternatives[0].payoff)]
    rows += [(f"folds at {each.decision.sequence}", each.payoff_folded) for each in alternatives]
    most = max(abs(payoff) for _, payoff in rows) or 1
    table = Table.grid(padding=(0, 1))
    for label, payoff in rows:
        length = -(-abs(payoff) * BAR_COLUMNS // most)  # rounded up: what is not zero can be seen
        colour = "green" if payoff > 0 else "red"
        table.add_row(label, f"[{colour}]{'█' * int(length)}[/] {_signed(payoff)}")
    return table


def of_training(
    hand: PublishedHand, alternatives: Sequence[Alternative], learnt: Sequence[Learnt]
) -> Table:
    """What each way to begin came to, against what was really done."""
    branch_count = sum(each.count for each in learnt)
    table = Table(
        Column("sequence", justify="right"),
        "really",
        "in the branch",
        *(Column(name, justify="right") for name in ("branches", "mean payoff", "won")),
        title=f"{branch_count:,} branches of {hand.name}, played on at random",
    )
    played = {each.decision: decided(each.played) for each in alternatives}
    before: Decision | None = None
    for each in learnt:
        is_new = each.decision != before
        table.add_row(
            str(each.decision.sequence) if is_new else "",
            played[each.decision] if is_new else "",
            each.first,
            f"{each.count:,}",
            f"{each.mean:+,.0f}",
            f"{each.won_share:.0%}",
        )
        before = each.decision
    return table


def of_files(paths: Sequence[Path]) -> str:
    """What was written."""
    sizes = (f"{path} ({path.stat().st_size / 1024:,.0f} KiB)" for path in paths)
    return f"written: {', '.join(sizes)}"


def decided(event: object) -> str:
    """A decision in words."""
    match event:
        case BetOrRaised(to=to):
            return f"raises to {_plain(to)}"
        case CheckedOrCalled(amount=amount):
            return f"calls {_plain(amount)}" if amount else "checks"
        case _:
            return type(event).__name__


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
