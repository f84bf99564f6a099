"""Held pages and their release into the publication log (CAS-9, CAS-7, STO-46)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore, LogEntry
from angzarr.testing.clock import START_NS
from angzarr.testing.contracts.base import (
    StoreContract,
    given_pages,
    given_pending,
    logged_sequences,
    whole_log,
)
from angzarr.testing.pages import (
    FRAMEWORK_URL,
    cover_of,
    page,
    parse_book,
    parse_page,
)

ALICE = cover_of("alice")
BOB = cover_of("bob")


async def resolve(events: EventStore, cascade_id: str, outcome: str) -> bytes:
    """Decide the cascade and write its marker on alice's stream; the marker."""
    await events.decide_cascade(cascade_id, outcome)
    marker = await events.resolve_cascade(ALICE, cascade_id)
    assert marker is not None
    return marker


def logged_pages(entries: list[LogEntry]) -> list[wire.EventPage]:
    """All pages of the entries, in log order."""
    return [item for entry in entries for item in parse_book(entry.book).pages]


class ReleaseContract(StoreContract):
    """Claims about what cascades hold back and let go."""

    @pytest.mark.spec("STO-46", "CAS-9")
    async def test_a_waiting_reader_wakes_on_a_release(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        reader = asyncio.create_task(events.tail(0, wait_s=20))
        await asyncio.sleep(0)

        await resolve(events, "casc-1", COMMIT)

        assert logged_sequences(await reader)[0] == 0

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_a_pending_page_is_not_published(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1")

        assert logged_sequences(await whole_log(events)) == [0]
        assert await events.log_head() == 1

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_committed_pages_wait_behind_a_pending_one(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        assert logged_sequences(await whole_log(events)) == [0]

    @pytest.mark.spec("CAS-9")
    async def test_other_streams_do_not_wait(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, BOB, 2)
        await given_pages(events, ALICE.on("whatif"), 1)

        assert await events.log_head() == 3

    @pytest.mark.spec("CAS-9", "CAS-17")
    async def test_a_decision_alone_publishes_nothing(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        await events.decide_cascade("casc-1", COMMIT)

        assert await events.log_head() == 0

    @pytest.mark.spec("CAS-9", "STO-46")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_the_resolution_publishes_in_sequence_order(
        self, events: EventStore, outcome: str
    ) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        await resolve(events, "casc-1", outcome)

        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3]
        assert await events.log_head() == 4

    @pytest.mark.spec("CAS-9")
    async def test_released_entries_have_gapless_positions(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1", 2)
        await given_pages(events, BOB, 3)
        await given_pages(events, ALICE, 2)

        await resolve(events, "casc-1", COMMIT)

        ends = [0]
        for entry in await whole_log(events):
            assert entry.first_position == ends[-1] + 1
            assert len(parse_book(entry.book).pages) == entry.position - ends[-1]
            ends.append(entry.position)
        assert ends[-1] == 8

    @pytest.mark.spec("CAS-9")
    async def test_confirmed_pages_are_published_as_committed(self, events: EventStore) -> None:
        [made] = await given_pending(events, ALICE, "casc-1")
        expected = parse_page(made)
        expected.committed = True

        await resolve(events, "casc-1", COMMIT)

        assert logged_pages(await whole_log(events))[0] == expected

    @pytest.mark.spec("CAS-9")
    async def test_confirmed_pages_keep_their_unknown_fields(self, events: EventStore) -> None:
        unknown = b"\xfa\x06\x03new"
        made = page(0, cascade_id="casc-1") + unknown
        await events.append(ALICE, 0, [made], cascade_id="casc-1")

        await resolve(events, "casc-1", COMMIT)

        assert unknown in logged_pages(await whole_log(events))[0].SerializeToString()

    @pytest.mark.spec("CAS-9", "STO-46")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_released_books_are_encoded_canonically(
        self, events: EventStore, outcome: str
    ) -> None:
        await given_pending(events, cover_of(correlation_id="corr-1"), "casc-1", 3)
        await given_pages(events, ALICE, 2)

        await resolve(events, "casc-1", outcome)

        for entry in await whole_log(events):
            assert entry.book == parse_book(entry.book).SerializeToString(deterministic=True)

    @pytest.mark.spec("CAS-9")
    async def test_held_committed_pages_are_published_as_they_are(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        [made] = await given_pages(events, ALICE, 1)

        await resolve(events, "casc-1", ROLLBACK)

        assert logged_pages(await whole_log(events))[1] == parse_page(made)

    @pytest.mark.spec("CAS-9", "CAS-7")
    async def test_revoked_pages_are_published_as_noops(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        await resolve(events, "casc-1", ROLLBACK)

        published = logged_pages(await whole_log(events))[0]
        assert published == _noop(START_NS, 0, cascade_id="casc-1", reason="revoked")

    @pytest.mark.spec("CAS-9", "CAS-7")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_a_marker_is_published_as_a_noop(self, events: EventStore, outcome: str) -> None:
        await given_pending(events, ALICE, "casc-1")

        await resolve(events, "casc-1", outcome)

        published = logged_pages(await whole_log(events))[-1]
        assert published == _noop(START_NS, 1, reason="framework_event")

    @pytest.mark.spec("CAS-9")
    async def test_a_markers_entry_has_the_deciders_correlation_id(
        self, events: EventStore
    ) -> None:
        await given_pending(events, cover_of(correlation_id="writer"), "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        await events.resolve_cascade(cover_of(correlation_id="decider"), "casc-1")

        assert await self.correlations(events) == [(0, "writer"), (1, "decider")]

    @pytest.mark.spec("CAS-9")
    async def test_the_reapers_marker_has_no_correlation_id(self, events: EventStore) -> None:
        await given_pending(events, cover_of(correlation_id="writer"), "casc-1")

        await resolve(events, "casc-1", ROLLBACK)

        assert await self.correlations(events) == [(0, "writer"), (1, "")]

    @pytest.mark.spec("CAS-9", "STO-14")
    async def test_released_pages_keep_their_commits_correlation_id(
        self, events: EventStore
    ) -> None:
        await given_pending(events, cover_of(correlation_id="first"), "casc-1", 2)
        await given_pages(events, cover_of(correlation_id="second"), 2)

        await resolve(events, "casc-1", COMMIT)

        assert await self.correlations(events) == [
            (0, "first"),
            (1, "first"),
            (2, "second"),
            (3, "second"),
            (4, ""),
        ]

    async def correlations(self, events: EventStore) -> list[tuple[int, str]]:
        """Sequence and correlation id of every published page."""
        return [
            (item.header.sequence, book.cover.correlation_id)
            for book in (parse_book(entry.book) for entry in await whole_log(events))
            for item in book.pages
        ]

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_a_release_stops_at_the_next_unresolved_page(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-2")

        await resolve(events, "casc-1", COMMIT)

        assert logged_sequences(await whole_log(events)) == [0, 1]

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_a_later_resolution_releases_the_rest(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-2")
        await resolve(events, "casc-1", COMMIT)

        await resolve(events, "casc-2", ROLLBACK)

        published = logged_pages(await whole_log(events))
        assert [item.header.sequence for item in published] == [0, 1, 2, 3, 4]
        assert [item.event.type_url == FRAMEWORK_URL + "NoOp" for item in published] == [
            False,
            False,
            True,
            True,
            True,
        ]

    @pytest.mark.spec("CAS-9")
    async def test_a_resolution_behind_an_unresolved_page_publishes_nothing(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, ALICE, "casc-2")

        await resolve(events, "casc-2", COMMIT)
        held = await events.log_head()
        await resolve(events, "casc-1", ROLLBACK)

        assert held == 0
        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3]

    @pytest.mark.spec("CAS-9")
    async def test_after_the_release_pages_are_published_at_once(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await resolve(events, "casc-1", COMMIT)

        await given_pages(events, ALICE, 2)

        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3]

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_release_and_writers_in_a_race_leave_no_gap(self, events: EventStore) -> None:
        covers = [cover_of(f"root-{number}") for number in range(10)]
        for cover in covers:
            await given_pending(events, cover, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        await asyncio.gather(
            *(events.resolve_cascade(cover, "casc-1") for cover in covers),
            *(given_pages(events, cover_of(f"other-{number}"), 2) for number in range(20)),
        )

        entries = await whole_log(events)
        ends = [0, *(entry.position for entry in entries)]
        assert [entry.first_position for entry in entries] == [end + 1 for end in ends[:-1]]
        assert ends[-1] == 60


def _noop(
    created_at_ns: int, sequence: int, *, reason: str, cascade_id: str = ""
) -> wire.EventPage:
    """The NoOp page that stands for the page at `sequence`."""
    value = wire.NoOp(original_sequence=sequence, cascade_id=cascade_id, reason=reason)
    return parse_page(
        page(
            sequence,
            value=value.SerializeToString(),
            type_url=FRAMEWORK_URL + "NoOp",
            created_at_ns=created_at_ns,
        )
    )
