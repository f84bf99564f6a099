"""The shipped hands are those that pokerkit publishes, and all pay out as published."""

from __future__ import annotations

import warnings
from importlib import resources

import published
import pytest

from angzarr import codec, wire
from angzarr.examples.holdem.app import Hand
from angzarr.examples.holdem.hands import PublishedHand, published_hands
from angzarr.handlers import LocalCommandHandler
from angzarr.ports.components import CallContext

HANDS = published_hands()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the programs that pokerkit's own tests are
        return published.texts()


def test_every_published_hand_is_shipped():
    names = [hand.root for hand in HANDS]

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


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.root)
async def test_a_hand_pays_out_as_published(hand: PublishedHand):
    stream = wire.EventBook()
    for command in hand.commands:
        stream.pages.extend(await _decided(stream, command))

    state = Hand.table().load(None, stream.pages)

    assert (state.stacks, state.payoffs) == (hand.finishing_stacks, hand.payoffs)


@pytest.mark.parametrize("hand", HANDS[:4], ids=lambda hand: hand.root)
async def test_every_command_makes_one_event_and_the_last_the_result(hand: PublishedHand):
    stream = wire.EventBook()
    counts: list[int] = []
    for command in hand.commands:
        pages = await _decided(stream, command)
        stream.pages.extend(pages)
        counts.append(len(pages))

    assert counts == [1] * (len(hand.commands) - 1) + [2]


@pytest.mark.parametrize("hand", HANDS[:4], ids=lambda hand: hand.root)
async def test_a_hand_goes_on_from_a_snapshot(hand: PublishedHand):
    """pokerkit's state is no part of the snapshot; it is made again from the actions."""
    stream = wire.EventBook()
    states = Hand.table().states
    for command in hand.commands:
        snapshot = wire.EventBook()
        if stream.pages:
            state = Hand.table().load(None, stream.pages)
            snapshot.snapshot.state.type_url = states.type_url
            snapshot.snapshot.state.value = states.encode(state)
        stream.pages.extend(await _decided(snapshot, command))

    assert Hand.table().load(None, stream.pages).stacks == hand.finishing_stacks


async def _decided(stream: wire.EventBook, command: object) -> list[wire.EventPage]:
    contextual = wire.ContextualCommand(events=stream)
    contextual.command.pages.add(command=codec.pack(command, "hand"))
    answer = await LocalCommandHandler(Hand).handle(contextual.SerializeToString(), CallContext())
    return list(wire.BusinessResponse.FromString(answer).events.pages)
