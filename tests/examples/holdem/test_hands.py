"""The shipped hands are those that pokerkit publishes, and all pay out as published."""

from __future__ import annotations

import warnings
from importlib import resources
from itertools import pairwise

import published
import pytest

from angzarr import codec, wire
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand, published_hands
from angzarr.examples.holdem.messages.game import Setup
from angzarr.examples.holdem.messages.hand import HandFinished, StartHand
from angzarr.handlers import LocalCommandHandler
from angzarr.ports.components import CallContext

HANDS = published_hands()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the programs that pokerkit's own tests are
        return published.texts()


def test_every_published_hand_is_shipped():
    names = [hand.name for hand in HANDS]

    assert len(names) == len(set(names)) == 4 + 83 + 14


@pytest.mark.parametrize(
    "name",
    [
        "antonius-blom-2009.phh",
        "arieh-yockey-2019.phh",
        "dwan-ivey-2009.phh",
        "phua-xuan-2019.phh",
        "wsop-2023-43-day-5.phhs",
        "wsop-2023-54-day-4.phhs",
    ],
)
def test_a_shipped_file_is_what_the_installed_package_publishes(texts: dict[str, str], name: str):
    shipped = resources.files("angzarr.examples.holdem") / "hands" / name

    assert _without_notice(shipped.read_text("utf-8")) == _without_notice(texts[name])


def _without_notice(text: str) -> str:
    return text.partition("\n\n")[2]


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.name)
async def test_a_hand_pays_out_as_published(hand: PublishedHand):
    stream = wire.EventBook()
    for command in _commands(hand):
        stream.pages.extend(await _decided(stream, command))

    state = Hand.table().load(None, stream.pages)

    assert (state.stacks, state.payoffs) == (hand.finishing_stacks, hand.payoffs)
    finished = codec.unpack(stream.pages[-1].event, HandFinished, "hand")
    assert finished.collected == hand.collected


@pytest.mark.parametrize("hand", HANDS[:4], ids=lambda hand: hand.name)
async def test_every_command_makes_one_event_and_the_last_the_result(hand: PublishedHand):
    stream = wire.EventBook()
    counts: list[int] = []
    for command in _commands(hand):
        pages = await _decided(stream, command)
        stream.pages.extend(pages)
        counts.append(len(pages))

    assert counts == [1] * len(hand.actions) + [2]


@pytest.mark.parametrize("hand", HANDS[:4], ids=lambda hand: hand.name)
async def test_a_hand_goes_on_from_a_snapshot(hand: PublishedHand):
    """pokerkit's state is no part of the snapshot; it is made again from the actions."""
    stream = wire.EventBook()
    states = Hand.table().states
    for command in _commands(hand):
        snapshot = wire.EventBook()
        if stream.pages:
            state = Hand.table().load(None, stream.pages)
            snapshot.snapshot.state.type_url = states.type_url
            snapshot.snapshot.state.value = states.encode(state)
        stream.pages.extend(await _decided(snapshot, command))

    assert Hand.table().load(None, stream.pages).stacks == hand.finishing_stacks


def test_the_hands_of_a_table_follow_one_another():
    """Of one table, in the order in which they were played."""
    tables = [hand.table for hand in HANDS]

    assert tables == sorted(tables, key=tables.index)
    assert len(set(tables)) == 6


def test_players_keep_seat_and_stack_from_hand_to_hand():
    """But for three times when hands or a change of chips were not published."""
    breaks: list[str] = []
    for before, after in pairwise(HANDS):
        if before.table != after.table:
            continue
        left = zip(before.players, before.seats, before.finishing_stacks, strict=True)
        there = zip(after.players, after.seats, after.starting_stacks, strict=True)
        if {place for place in left if place[2]} != set(there):
            breaks.append(after.name)

    table = "wsop-2023-43-day-5"
    assert breaks == [f"{table}-03", f"{table}-48", f"{table}-69"]


def test_a_player_of_two_tables_is_one_player():
    players = {player for hand in HANDS for player in hand.players}
    seats = {(hand.table, player) for hand in HANDS for player in hand.players}

    assert len(players) == len(seats) - 1


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.name)
def test_nobody_has_more_in_the_pot_than_somebody_else_and_an_ante(hand: PublishedHand):
    """What was put in is what was collected less what was won; the rest of a bet came back."""
    put_in = [pot - payoff for pot, payoff in zip(hand.collected, hand.payoffs, strict=True)]

    second, most = sorted(put_in)[-2:]
    assert second <= most <= second + max(hand.game.antes, default=0)


def _commands(hand: PublishedHand) -> list[object]:
    setup = Setup(hand.game, hand.players, hand.starting_stacks)
    return [StartHand(hand.table, hand.name, setup), *hand.actions]


async def _decided(stream: wire.EventBook, command: object) -> list[wire.EventPage]:
    contextual = wire.ContextualCommand(events=stream)
    contextual.command.pages.add(command=codec.pack(command, "hand"))
    answer = await LocalCommandHandler(Hand).handle(contextual.SerializeToString(), CallContext())
    return list(wire.BusinessResponse.FromString(answer).events.pages)
