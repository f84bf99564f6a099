"""Hands played through a caller, resumed wherever their streams stand."""

from __future__ import annotations

from angzarr.app import App
from angzarr.examples.holdem.app import Hand
from angzarr.examples.holdem.hands import published_hands
from angzarr.examples.holdem.play import play, play_hand, results

HANDS = published_hands()[:4]


async def test_played_hands_pay_out_as_published():
    async with App(Hand, store="memory://") as app:
        await play(app, HANDS)

        assert all(result.is_as_published for result in await results(app, HANDS))


async def test_an_unfinished_hand_is_not_as_published():
    async with App(Hand, store="memory://") as app:
        assert not any(result.is_as_published for result in await results(app, HANDS))


async def test_a_hand_is_resumed_where_its_stream_stands():
    hand = HANDS[0]
    async with App(Hand, store="memory://") as app:
        domain = app.domain(Hand)
        for command in hand.commands[:5]:
            await domain.send(hand.root, command)

        await play_hand(domain, hand)

        (result,) = await results(app, [hand])
        assert (result.is_as_published, result.event_count) == (True, len(hand.commands) + 1)


async def test_playing_again_changes_nothing():
    async with App(Hand, store="memory://") as app:
        await play(app, HANDS)
        heard: list[int] = []

        await play(app, HANDS, heard=lambda hand, sequence: heard.append(sequence))

        assert heard == []
