"""Cascades in the store: pending pages, decisions, markers (STO-45, CAS-4, 9, 11, 14, 31)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.cover import Cover
from angzarr.errors import CascadeDecided, UnknownCascade
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore, Participant, Pending
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock
from angzarr.testing.contracts.base import (
    StoreContract,
    attempt,
    given_aged,
    given_pages,
    given_pending,
)
from angzarr.testing.pages import (
    FRAMEWORK_URL,
    book_of,
    cover_of,
    pages,
    parse_page,
    snapshot,
    timestamp,
)

OUTCOMES = [COMMIT, ROLLBACK]
ALICE = cover_of("alice")
BOB = cover_of("bob")


class CascadeContract(StoreContract):
    """Claims about pending pages and what resolves them."""

    @pytest.mark.spec("STO-45", "CAS-1")
    async def test_a_pending_page_is_indexed(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 2)
        await given_aged(events, ALICE, "casc-1", START_NS + 7)

        assert await events.pending(ALICE) == [Pending(2, "casc-1", START_NS + 7)]

    @pytest.mark.spec("STO-45", "CAS-1")
    async def test_pending_pages_come_back_as_they_were(self, events: EventStore) -> None:
        made = await given_pending(events, ALICE, "casc-1", 3)

        assert (await events.load(ALICE)).data == book_of(ALICE, made)

    @pytest.mark.spec("STO-45")
    async def test_pending_pages_ascend_over_cascades(self, events: EventStore) -> None:
        for cascade_id in ("casc-2", "casc-1", "casc-2"):
            await given_pending(events, ALICE, cascade_id)
            await given_pages(events, ALICE, 1)

        found = [(item.sequence, item.cascade_id) for item in await events.pending(ALICE)]

        assert found == [(0, "casc-2"), (2, "casc-1"), (4, "casc-2")]

    @pytest.mark.spec("STO-45")
    async def test_a_committed_stream_has_nothing_pending(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 3)

        assert await events.pending(ALICE) == []

    @pytest.mark.spec("STO-45")
    async def test_pending_pages_are_those_of_the_stream(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        assert await events.pending(BOB) == []

    @pytest.mark.spec("CAS-11")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_a_decision_is_recorded(
        self, events: EventStore, clock: ManualClock, outcome: str
    ) -> None:
        clock.advance(5)

        decision = await events.decide_cascade("casc-1", outcome, "because")

        assert (decision.cascade_id, decision.outcome) == ("casc-1", outcome)
        assert (decision.reason, decision.decided_at_ns) == ("because", START_NS + 5 * NS_PER_S)
        assert await events.decision("casc-1") == decision

    @pytest.mark.spec("CAS-11")
    async def test_an_undecided_cascade_has_no_decision(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        assert await events.decision("casc-1") is None

    @pytest.mark.spec("CAS-11", "STO-45")
    async def test_the_first_decision_stays(self, events: EventStore, clock: ManualClock) -> None:
        first = await events.decide_cascade("casc-1", ROLLBACK, "timeout")
        clock.advance(9)

        second = await events.decide_cascade("casc-1", COMMIT, "late")

        assert second == first
        assert await events.decision("casc-1") == first

    @pytest.mark.spec("CAS-11", "STO-45", "CAS-33")
    async def test_one_of_32_concurrent_decisions_is_in_force(self, events: EventStore) -> None:
        decisions = await asyncio.gather(
            *(events.decide_cascade("casc-1", OUTCOMES[n % 2], f"caller {n}") for n in range(32))
        )

        assert decisions == [await events.decision("casc-1")] * 32

    @pytest.mark.spec("CAS-11")
    async def test_decisions_of_cascades_are_apart(self, events: EventStore) -> None:
        await events.decide_cascade("casc-1", COMMIT)

        decision = await events.decide_cascade("casc-11", ROLLBACK)

        assert decision.outcome == ROLLBACK
        assert await events.decision("casc") is None

    @pytest.mark.spec("CAS-3", "STO-45", "STO-21")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_a_late_append_is_refused(self, events: EventStore, outcome: str) -> None:
        await events.decide_cascade("casc-1", outcome, "timeout")

        with pytest.raises(CascadeDecided) as raised:
            await given_pending(events, ALICE, "casc-1")

        error = raised.value
        assert (error.cascade_id, error.outcome, error.reason) == ("casc-1", outcome, "timeout")
        assert await events.next_sequence(ALICE) == 0

    @pytest.mark.spec("CAS-4", "CAS-14", "STO-45")
    async def test_a_commit_appends_a_confirmation(
        self, events: EventStore, clock: ManualClock
    ) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1", 2)
        await events.decide_cascade("casc-1", COMMIT)
        clock.advance(3)

        marker = parse_page(await events.resolve_cascade(ALICE, "casc-1") or b"")

        confirmation = wire.Confirmation.FromString(marker.event.value)
        assert marker.event.type_url == FRAMEWORK_URL + "Confirmation"
        assert list(confirmation.sequences) == [1, 2]
        assert confirmation.cascade_id == "casc-1"
        assert confirmation.target == parse_cover(ALICE)
        assert (marker.header.sequence, marker.committed, marker.cascade_id) == (3, True, "casc-1")
        assert marker.created_at == timestamp(START_NS + 3 * NS_PER_S)

    @pytest.mark.spec("CAS-4", "CAS-14", "STO-45")
    async def test_a_rollback_appends_a_revocation_with_its_reason(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1", 2)
        await events.decide_cascade("casc-1", ROLLBACK, "timeout")

        marker = parse_page(await events.resolve_cascade(ALICE, "casc-1") or b"")

        assert marker.event.type_url == FRAMEWORK_URL + "Revocation"
        assert wire.Revocation.FromString(marker.event.value) == wire.Revocation(
            target=parse_cover(ALICE), sequences=[0, 1], cascade_id="casc-1", reason="timeout"
        )

    @pytest.mark.spec("CAS-4")
    async def test_a_markers_target_names_the_edition(self, events: EventStore) -> None:
        branch = ALICE.on("whatif")
        await given_pending(events, branch, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        marker = parse_page(await events.resolve_cascade(branch, "casc-1") or b"")

        confirmation = wire.Confirmation.FromString(marker.event.value)
        assert confirmation.target == parse_cover(branch)

    @pytest.mark.spec("CAS-4")
    async def test_a_marker_is_the_same_whoever_decides(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        data = await events.resolve_cascade(cover_of("alice", correlation_id="corr-1"), "casc-1")

        marker = parse_page(data or b"")
        assert wire.Confirmation.FromString(marker.event.value).target == parse_cover(ALICE)

    @pytest.mark.spec("CAS-4", "STO-45")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_a_marker_is_encoded_canonically(self, events: EventStore, outcome: str) -> None:
        await given_pending(events, ALICE, "casc-1", 200)
        await events.decide_cascade("casc-1", outcome, "because")

        marker = await events.resolve_cascade(ALICE, "casc-1") or b""

        message = parse_page(marker)
        kind = wire.Confirmation if outcome == COMMIT else wire.Revocation
        value = kind.FromString(message.event.value).SerializeToString(deterministic=True)
        assert message.event.value == value
        assert marker == message.SerializeToString(deterministic=True)

    @pytest.mark.spec("CAS-4", "STO-45")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_a_marker_takes_a_sequence(self, events: EventStore, outcome: str) -> None:
        made = await given_pending(events, ALICE, "casc-1", 2)
        await events.decide_cascade("casc-1", outcome)

        marker = await events.resolve_cascade(ALICE, "casc-1")

        assert marker is not None
        book = await events.load(ALICE)
        assert book.data == book_of(ALICE, [*made, marker])
        assert (book.next_sequence, book.is_plain) == (3, False)

    @pytest.mark.spec("CAS-4", "STO-10")
    async def test_a_marker_moves_the_head_under_other_writers(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        results = await asyncio.gather(
            attempt(events.append(ALICE, 1, pages(1, 1))),
            events.resolve_cascade(ALICE, "casc-1"),
            attempt(events.append(ALICE, 1, pages(1, 1))),
        )

        marker = parse_page(results[1] or b"")
        assert marker.header.sequence in (1, 2)
        assert await events.next_sequence(ALICE) == 2 + (marker.header.sequence == 2)

    @pytest.mark.spec("STO-45", "CAS-14")
    @pytest.mark.parametrize("outcome", OUTCOMES)
    async def test_resolution_leaves_nothing_pending(
        self, events: EventStore, outcome: str
    ) -> None:
        await given_pending(events, ALICE, "casc-1", 2)
        await events.decide_cascade("casc-1", outcome)

        await events.resolve_cascade(ALICE, "casc-1")

        assert await events.pending(ALICE) == []
        assert await events.query_cascade_participants("casc-1") == []

    @pytest.mark.spec("STO-45", "CAS-14")
    async def test_a_second_resolution_does_nothing(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(ALICE, "casc-1")
        before = await events.load(ALICE)
        head = await events.log_head()

        assert await events.resolve_cascade(ALICE, "casc-1") is None

        assert await events.load(ALICE) == before
        assert await events.log_head() == head

    @pytest.mark.spec("CAS-33", "STO-45")
    async def test_one_of_32_concurrent_resolutions_writes_the_marker(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        markers = await asyncio.gather(
            *(events.resolve_cascade(ALICE, "casc-1") for _ in range(32))
        )

        assert sum(marker is not None for marker in markers) == 1
        assert await events.next_sequence(ALICE) == 2

    @pytest.mark.spec("CAS-33", "STO-45")
    async def test_commit_and_reaper_in_a_race_write_one_kind_of_marker(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, BOB, "casc-1")

        async def carry_out(outcome: str) -> list[bytes | None]:
            await events.decide_cascade("casc-1", outcome)
            return [await events.resolve_cascade(cover, "casc-1") for cover in (ALICE, BOB)]

        written = await asyncio.gather(carry_out(ROLLBACK), carry_out(COMMIT))

        markers = [parse_page(marker) for pair in written for marker in pair if marker]
        assert len(markers) == 2
        assert len({marker.event.type_url for marker in markers}) == 1

    @pytest.mark.spec("CAS-14")
    async def test_an_unaffected_stream_gets_no_marker(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, BOB, 1)
        await events.decide_cascade("casc-1", COMMIT)

        assert await events.resolve_cascade(BOB, "casc-1") is None
        assert await events.next_sequence(BOB) == 1

    @pytest.mark.spec("CAS-11", "CAS-15")
    async def test_an_undecided_cascade_is_not_resolved(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        with pytest.raises(UnknownCascade):
            await events.resolve_cascade(ALICE, "casc-1")

        assert await events.next_sequence(ALICE) == 1

    @pytest.mark.spec("CAS-14", "STO-45")
    async def test_another_cascade_is_untouched(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, ALICE, "casc-2")
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", ROLLBACK)

        marker = parse_page(await events.resolve_cascade(ALICE, "casc-1") or b"")

        assert list(wire.Revocation.FromString(marker.event.value).sequences) == [0, 2]
        assert [item.sequence for item in await events.pending(ALICE)] == [1]
        assert await events.query_cascade_participants("casc-2") == [Participant(ALICE, (1,))]

    @pytest.mark.spec("CAS-31", "CAS-17")
    async def test_a_decided_cascade_keeps_its_participants_until_resolved(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        assert await events.query_cascade_participants("casc-1") == [Participant(ALICE, (0,))]
        assert [item.sequence for item in await events.pending(ALICE)] == [0]

    @pytest.mark.spec("STO-45")
    async def test_a_cascade_may_span_editions(self, events: EventStore) -> None:
        branch = ALICE.on("whatif")
        await given_pages(events, ALICE, 1)
        await given_pending(events, branch, "casc-1")
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        await events.resolve_cascade(branch, "casc-1")

        assert await events.query_cascade_participants("casc-1") == [Participant(ALICE, (1,))]

    @pytest.mark.spec("SNAP-5")
    async def test_a_snapshot_above_a_pending_page_is_dropped(self, stores: Stores) -> None:
        await given_pages(stores.events, ALICE, 1)
        await given_pending(stores.events, ALICE, "casc-1")

        await stores.events.append(ALICE, 2, pages(2, 1), snapshot=snapshot(2))

        assert await stores.events.next_sequence(ALICE) == 3
        assert await stores.snapshots.get(ALICE) is None

    @pytest.mark.spec("SNAP-5")
    async def test_a_snapshot_of_pending_pages_themselves_is_dropped(self, stores: Stores) -> None:
        made = pages(0, 1, cascade_id="casc-1")

        await stores.events.append(ALICE, 0, made, cascade_id="casc-1", snapshot=snapshot(0))

        assert await stores.snapshots.get(ALICE) is None

    @pytest.mark.spec("SNAP-5")
    async def test_a_snapshot_below_a_pending_page_is_kept(self, stores: Stores) -> None:
        await given_pages(stores.events, ALICE, 2)
        await given_pending(stores.events, ALICE, "casc-1")

        await stores.events.append(ALICE, 3, pages(3, 1), snapshot=snapshot(1))

        assert await stores.snapshots.get(ALICE) == snapshot(1)

    @pytest.mark.spec("SNAP-5")
    async def test_a_snapshot_after_the_resolution_is_kept(self, stores: Stores) -> None:
        await given_pending(stores.events, ALICE, "casc-1")
        await stores.events.decide_cascade("casc-1", COMMIT)
        await stores.events.resolve_cascade(ALICE, "casc-1")

        await stores.events.append(ALICE, 2, pages(2, 1), snapshot=snapshot(2))

        assert await stores.snapshots.get(ALICE) == snapshot(2)


def parse_cover(cover: Cover) -> wire.Cover:
    """The cover as a message, its edition named."""
    return wire.EventBook.FromString(book_of(cover, [])).cover
