"""Plays published hands through a server, from wherever its streams stand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from angzarr import Aggregate
from angzarr.caller import Caller
from angzarr.codec import Payload
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.messages.player import Deposit, Register
from angzarr.examples.holdem.messages.table import Join, Leave, OpenHand, OpenTable
from angzarr.examples.holdem.player import Player
from angzarr.examples.holdem.table import Table

TIMEOUT_S = 30.0
REACTION_S_MAX = 30.0
"""How long a saga may take before the play is given up."""

POLL_S = 0.005

A = TypeVar("A", bound=Aggregate)

Heard = Callable[[str, str, int], None]
"""Domain, root and next sequence of the stream that has acknowledged a command."""


async def play(client: Caller, hands: Sequence[PublishedHand], heard: Heard | None = None) -> None:
    """Play the hands of each table in order, all tables at once, until everyone has left.

    What to do next is read from the streams, so a player that died goes on where it was. heard: is
    called after each acknowledged command. Raises an ExceptionGroup of what `Domain.send` raises,
    and of TimeoutError if a reaction does not come.
    """
    room = Room(client, heard)
    async with asyncio.TaskGroup() as group:
        for _, at_table in itertools.groupby(hands, lambda hand: hand.table):
            group.create_task(room.play_table(list(at_table)))


@dataclass(frozen=True, slots=True)
class Room:
    """Everybody's calls to the server."""

    client: Caller
    heard: Heard | None = None

    async def play_table(self, hands: Sequence[PublishedHand]) -> None:
        """Open the table of `hands`, play what is missing of them, and let everybody leave."""
        table = hands[0].table
        await self.send(Table, table, OpenTable(table), idempotency="open")
        played_count = (await self.state(Table, table)).settled_count
        for hand in hands[played_count:]:
            await self.take_seats(hand)
            await self.play_hand(hand)
        for player in (await self.state(Table, table)).seats:
            await self.send(Table, table, Leave(player))
        for player in {player for hand in hands for player in hand.players}:
            await self.until(Player, player, lambda player: table not in player.at_tables)

    async def take_seats(self, hand: PublishedHand) -> None:
        """Have the players of `hand` at the table with their published stacks.

        They are there from the hand before. But some hands were not published: after these the
        players leave, and join again with other stacks.
        """
        places = zip(hand.players, hand.seats, hand.starting_stacks, strict=True)
        async with asyncio.TaskGroup() as group:
            for player, seat, stack in places:
                group.create_task(self.take_seat(hand.table, Join(player, seat, stack)))

    async def take_seat(self, table: str, join: Join) -> None:
        """Have one player at the table; who can't pay for the seat deposits what is missing."""
        player = join.player
        seat = (await self.until_seated(table, player)).seats.get(player)
        if seat and seat.stack == join.buy_in:
            return
        if seat:
            await self.send(Table, table, Leave(player))
        elif not (await self.state(Player, player)).name:
            await self.send(Player, player, Register(player), idempotency="register")
            await self.send(Player, player, Deposit(join.buy_in), idempotency=table)
        while True:
            await self.send(Table, table, join)
            if player in (await self.until_seated(table, player)).seats:
                return
            missing: Chips = join.buy_in - (await self.state(Player, player)).bankroll
            if missing > 0:
                await self.send(Player, player, Deposit(missing))

    async def until_seated(self, table: str, player: str) -> Table:
        """The table, when the player is seated there, or has no seat."""

        def is_decided(table: Table) -> bool:
            return player not in table.seats or table.seats[player].stack is not None

        return await self.until(Table, table, is_decided)

    async def play_hand(self, hand: PublishedHand) -> None:
        """Open a hand, send what is missing of its actions, and wait until it is settled.

        Every action makes one event, and the last one the result too, so the sequence of an action
        is its number, counted from 1 since the hand's start is 0; one that was executed although
        its answer got lost is not sent again. The stamp is strict: a second player of the same
        hand would be refused.
        """
        opening = OpenHand(hand.name, hand.game, hand.seats[0])
        await self.send(Table, hand.table, opening, idempotency=hand.name)
        await self.until(Hand, hand.name, lambda dealt: dealt.setup is not None)
        book = await self.client.domain(Hand).book(hand.name, timeout_s=TIMEOUT_S)
        first = book.next_sequence
        for sequence, action in enumerate(hand.actions[first - 1 :], first):
            await self.send(Hand, hand.name, action, expected_sequence=sequence)
        await self.until(Table, hand.table, lambda table: table.hand != hand.name)

    async def send(
        self,
        aggregate: type[Aggregate],
        root: str,
        command: Payload,
        *,
        expected_sequence: int | None = None,
        idempotency: str = "",
    ) -> None:
        """Send a command and tell of its acknowledgement."""
        domain = self.client.domain(aggregate)
        sent = await domain.send(
            root,
            command,
            expected_sequence=expected_sequence,
            merge=None if expected_sequence is None else "strict",
            idempotency=idempotency,
            timeout_s=TIMEOUT_S,
        )
        if self.heard:
            self.heard(domain.name, root, sent.next_sequence)

    async def until(self, aggregate: type[A], root: str, holds: Callable[[A], bool]) -> A:
        """The aggregate, as soon as something `holds` for it.

        Raises TimeoutError after REACTION_S_MAX.
        """
        async with asyncio.timeout(REACTION_S_MAX):
            while True:
                state = await self.state(aggregate, root)
                if holds(state):
                    return state
                await asyncio.sleep(POLL_S)

    async def state(self, aggregate: type[A], root: str) -> A:
        """The aggregate, as its stream has it now."""
        state = await self.client.domain(aggregate).state(root, timeout_s=TIMEOUT_S)
        assert isinstance(state, aggregate)
        return state
