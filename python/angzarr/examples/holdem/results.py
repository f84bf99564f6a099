"""What came of the hands, beside what was published of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from angzarr.caller import Caller
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.messages.player import Deposited
from angzarr.examples.holdem.play import POLL_S, REACTION_S_MAX, TIMEOUT_S
from angzarr.examples.holdem.player import Player
from angzarr.examples.holdem.standings import Standing, standings
from angzarr.readstores import SqliteReader


@dataclass(frozen=True, slots=True)
class HandResult:
    """What the server's events make of a hand. event_count: the length of its stream."""

    hand: PublishedHand
    stacks: tuple[Chips, ...]
    payoffs: tuple[Chips, ...]
    event_count: int

    @property
    def is_as_published(self) -> bool:
        """Whether stacks and payoffs equal the published ones."""
        return self.stacks == self.hand.finishing_stacks and self.payoffs == self.hand.payoffs


@dataclass(frozen=True, slots=True)
class Bankroll:
    """A player's money. at_tables: what is not back yet."""

    deposited: Chips
    bankroll: Chips
    at_tables: Chips


@dataclass(frozen=True, slots=True)
class PlayerResult:
    """What a player stands at. published: what the published results sum to."""

    published: Standing
    standing: Standing
    money: Bankroll

    @property
    def is_as_published(self) -> bool:
        """Whether the standing is that, and the bankroll has changed by as much."""
        net = self.money.bankroll - self.money.deposited
        return (
            self.standing == self.published
            and net == self.published.net
            and not self.money.at_tables
        )


async def results(client: Caller, hands: Sequence[PublishedHand]) -> list[HandResult]:
    """The hands as the server's events tell them, in the order given."""
    domain = client.domain(Hand)
    found: list[HandResult] = []
    for hand in hands:
        book = await domain.book(hand.name, timeout_s=TIMEOUT_S)
        state = Hand.table().load(None, [event.page for event in book])
        found.append(HandResult(hand, state.stacks, state.payoffs, len(book)))
    return found


async def bankrolls(client: Caller, hands: Sequence[PublishedHand]) -> dict[str, Bankroll]:
    """The money of all players of the hands, by name."""
    domain = client.domain(Player)
    found: dict[str, Bankroll] = {}
    for player in {player for hand in hands for player in hand.players}:
        book = await domain.book(player, timeout_s=TIMEOUT_S)
        state = Player.table().load(None, [event.page for event in book])
        deposits = [e.payload.amount for e in book if isinstance(e.payload, Deposited)]
        found[player] = Bankroll(sum(deposits), state.bankroll, sum(state.at_tables.values()))
    return found


async def standings_when_complete(
    reader: SqliteReader, hands: Sequence[PublishedHand]
) -> dict[str, Standing]:
    """All players' standings, as soon as all hands are in them; the projector follows the events.

    Raises TimeoutError after REACTION_S_MAX.
    """
    count = sum(len(hand.players) for hand in hands)
    async with asyncio.timeout(REACTION_S_MAX):
        while True:
            found = standings(reader)
            if sum(standing.hands for standing in found) >= count:
                return {standing.player: standing for standing in found}
            await asyncio.sleep(POLL_S)


def published_standings(hands: Sequence[PublishedHand]) -> dict[str, Standing]:
    """What the published results sum to, by player."""
    found: dict[str, Standing] = {}
    for hand in hands:
        for player, payoff, pot in zip(hand.players, hand.payoffs, hand.collected, strict=True):
            before = found.get(player, Standing(player, 0, 0, 0, 0))
            found[player] = replace(
                before,
                hands=before.hands + 1,
                won=before.won + (payoff > 0),
                net=before.net + payoff,
                biggest_pot=max(before.biggest_pot, pot),
            )
    return found


def player_results(
    hands: Sequence[PublishedHand],
    found: dict[str, Standing],
    money: dict[str, Bankroll],
) -> list[PlayerResult]:
    """The players of the hands, the greatest winner first."""
    published = sorted(published_standings(hands).values(), key=lambda standing: -standing.net)
    return [
        PlayerResult(standing, found[standing.player], money[standing.player])
        for standing in published
    ]
