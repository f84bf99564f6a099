"""What the reaper asks: stale and unfinished cascades, and their participants (CAS-14, CAS-31)."""

from __future__ import annotations

import pytest

from angzarr.cover import Cover
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore, Participant
from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock
from angzarr.testing.contracts.base import (
    StoreContract,
    given_aged,
    given_pages,
    given_pending,
)
from angzarr.testing.pages import (
    cover_of,
)

OUTCOMES = [COMMIT, ROLLBACK]
ALICE = cover_of("alice")
BOB = cover_of("bob")


class ReapingContract(StoreContract):
    """Claims about the queries over cascades."""

    @pytest.mark.spec("STO-45", "CAS-31")
    async def test_an_old_undecided_cascade_is_stale(self, events: EventStore) -> None:
        await given_aged(events, ALICE, "casc-1", START_NS)

        assert await events.query_stale_cascades(START_NS + 1) == ["casc-1"]

    @pytest.mark.spec("STO-45", "CAS-31")
    async def test_a_fresh_cascade_is_not_stale(self, events: EventStore) -> None:
        await given_aged(events, ALICE, "casc-1", START_NS + NS_PER_S)

        assert await events.query_stale_cascades(START_NS) == []

    @pytest.mark.spec("STO-45", "CAS-31")
    async def test_a_cascade_exactly_at_the_threshold_is_not_stale(
        self, events: EventStore
    ) -> None:
        await given_aged(events, ALICE, "casc-1", START_NS)

        assert await events.query_stale_cascades(START_NS) == []

    @pytest.mark.spec("CAS-31")
    async def test_one_old_page_makes_a_cascade_stale(self, events: EventStore) -> None:
        await given_aged(events, ALICE, "casc-1", START_NS + 9)
        await given_aged(events, BOB, "casc-1", START_NS)

        assert await events.query_stale_cascades(START_NS + 1) == ["casc-1"]

    @pytest.mark.spec("CAS-31")
    async def test_stale_cascades_ascend_and_are_distinct(self, events: EventStore) -> None:
        for cascade_id in ("casc-3", "casc-1", "casc-2", "casc-1"):
            await given_aged(events, ALICE, cascade_id, START_NS)

        stale = await events.query_stale_cascades(START_NS + 1)

        assert stale == ["casc-1", "casc-2", "casc-3"]

    @pytest.mark.spec("STO-45", "CAS-31")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_a_decided_cascade_is_not_stale(self, events: EventStore, outcome: str) -> None:
        await given_aged(events, ALICE, "casc-1", START_NS)
        await events.decide_cascade("casc-1", outcome)

        assert await events.query_stale_cascades(START_NS + 1) == []

    @pytest.mark.spec("CAS-17", "CAS-31")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_a_decided_cascade_is_unfinished_until_resolved(
        self, events: EventStore, outcome: str
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, BOB, "casc-1")
        await events.decide_cascade("casc-1", outcome)
        seen = [await events.query_unfinished_cascades()]

        for cover in (ALICE, BOB):
            await events.resolve_cascade(cover, "casc-1")
            seen.append(await events.query_unfinished_cascades())

        assert seen == [["casc-1"], ["casc-1"], []]

    @pytest.mark.spec("CAS-17", "CAS-31")
    async def test_undecided_and_pageless_cascades_are_not_unfinished(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "undecided")
        await events.decide_cascade("pageless", COMMIT)

        assert await events.query_unfinished_cascades() == []

    @pytest.mark.spec("CAS-31")
    async def test_unfinished_cascades_ascend(self, events: EventStore) -> None:
        for cascade_id in ("casc-3", "casc-1", "casc-2"):
            await given_pending(events, ALICE, cascade_id)
            await events.decide_cascade(cascade_id, ROLLBACK)

        assert await events.query_unfinished_cascades() == ["casc-1", "casc-2", "casc-3"]

    @pytest.mark.spec("CAS-31")
    async def test_staleness_goes_by_the_pages_time_not_the_clock(
        self, events: EventStore, clock: ManualClock
    ) -> None:
        clock.set(START_NS - 50 * NS_PER_S)
        await given_aged(events, ALICE, "casc-1", START_NS)

        assert await events.query_stale_cascades(START_NS) == []

    @pytest.mark.spec("STO-45")
    async def test_participants_are_the_streams_with_their_sequences(
        self, events: EventStore
    ) -> None:
        await given_pages(events, ALICE, 2)
        await given_pending(events, ALICE, "casc-1", 2)
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1", 1)

        found = await events.query_cascade_participants("casc-1")

        assert found == [Participant(ALICE, (2, 3, 5))]

    @pytest.mark.spec("STO-45", "EDN-18")
    async def test_participants_come_by_domain_edition_and_root(self, events: EventStore) -> None:
        covers = [
            Cover(domain, root, edition)
            for root in (b"\xff" * 16, bytes(16))
            for edition in ("whatif", "angzarr", "a")
            for domain in ("order", "account")
        ]
        for cover in covers:
            await given_pending(events, cover, "casc-1")

        found = await events.query_cascade_participants("casc-1")

        assert [item.cover for item in found] == sorted(covers, key=lambda cover: cover.stream)

    @pytest.mark.spec("STO-45")
    async def test_a_participants_cover_has_no_correlation_id(self, events: EventStore) -> None:
        await given_pending(events, cover_of(correlation_id="corr-1"), "casc-1")

        assert await events.query_cascade_participants("casc-1") == [Participant(cover_of(), (0,))]

    @pytest.mark.spec("STO-45")
    async def test_an_unknown_cascade_has_no_participants(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        assert await events.query_cascade_participants("casc") == []
        assert await events.query_cascade_participants("casc-11") == []

    @pytest.mark.spec("STO-45", "CAS-14")
    async def test_resolved_participants_are_left_out(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, BOB, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        await events.resolve_cascade(ALICE, "casc-1")

        assert await events.query_cascade_participants("casc-1") == [Participant(BOB, (0,))]
