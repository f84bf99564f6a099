"""Plays published hands through a server, from wherever their streams stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from angzarr.caller import Caller, Domain
from angzarr.examples.holdem.app import Hand
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages import Chips

TABLES_AT_ONCE = 8
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """What the server's events make of a hand. event_count: the length of its stream."""

    hand: PublishedHand
    stacks: tuple[Chips, ...]
    payoffs: tuple[Chips, ...]
    event_count: int

    @property
    def is_as_published(self) -> bool:
        """Whether stacks and payoffs equal the published ones."""
        return self.stacks == self.hand.finishing_stacks and self.payoffs == self.hand.payoffs


async def play(
    client: Caller,
    hands: Sequence[PublishedHand],
    *,
    tables_at_once: int = TABLES_AT_ONCE,
    heard: Callable[[PublishedHand, int], None] | None = None,
) -> None:
    """Send each hand's commands, in order, several hands at a time.

    Every command makes one event, and the last one the result too, so a stream's next sequence is
    the next command: a player that died resumes by asking for it, and a command that was executed
    although its answer got lost is not sent again. The stamp is strict: a second player at the
    same table would be refused.

    heard: called after each acknowledged command with the stream's next sequence.
    Raises an ExceptionGroup of what `Domain.send` raises.
    """
    seats = asyncio.Semaphore(tables_at_once)

    async def sit(hand: PublishedHand) -> None:
        async with seats:
            await play_hand(client.domain(Hand), hand, heard)

    async with asyncio.TaskGroup() as group:
        for hand in hands:
            group.create_task(sit(hand))


async def play_hand(
    domain: Domain, hand: PublishedHand, heard: Callable[[PublishedHand, int], None] | None = None
) -> None:
    """Send what is missing of one hand."""
    next_sequence = (await domain.book(hand.root, timeout_s=TIMEOUT_S)).next_sequence
    for sequence, command in enumerate(hand.commands[next_sequence:], next_sequence):
        sent = await domain.send(
            hand.root, command, expected_sequence=sequence, merge="strict", timeout_s=TIMEOUT_S
        )
        if heard:
            heard(hand, sent.next_sequence)


async def results(client: Caller, hands: Sequence[PublishedHand]) -> list[Result]:
    """The hands as the server's events tell them, in the order given."""
    domain = client.domain(Hand)
    found: list[Result] = []
    for hand in hands:
        book = await domain.book(hand.root, timeout_s=TIMEOUT_S)
        state = Hand.table().load(None, [event.page for event in book])
        found.append(Result(hand, state.stacks, state.payoffs, len(book)))
    return found
