"""The log as columns: which rows, in which order, and where the next scan goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from angzarr.cover import MAIN
from angzarr.errors import InvalidInput, StoreClosed
from angzarr.ports.columns import FieldPath, FieldSpec
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.columns import Row, rows_of, rows_of_log
from angzarr.testing.contracts.base import (
    Opener,
    given_pages,
    given_pending,
    whole_log,
)
from angzarr.testing.contracts.nested_levels import given_levels
from angzarr.testing.contracts.scan_fields import ScanFieldContract
from angzarr.testing.pages import FRAMEWORK_URL, TYPE_URL, cover_of, page

ALICE = cover_of()
BOB = cover_of("bob", domain="order")
WHATIF = cover_of(edition="whatif")

CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "events.scan": lambda s: s.events.scan(0),
}


async def scan_all(
    events: EventStore,
    *,
    limit: int = 65_536,
    editions: Sequence[str] | None = None,
    domains: Sequence[str] | None = None,
) -> list[Row]:
    """Rows of all scans that follow one another to the log's end."""
    rows: list[Row] = []
    after, last = -1, 0
    while last != after:
        after = last
        columns = await events.scan(after, limit=limit, editions=editions, domains=domains)
        rows += rows_of(columns)
        last = columns.last
    return rows


async def given_log(events: EventStore) -> None:
    """Commits of several streams: positions 1-2 alice, 3-5 bob, 6 whatif, 7-10 alice, 11 bob."""
    await given_pages(events, ALICE, 2)
    await given_pages(events, BOB, 3)
    await given_pages(events, WHATIF, 1)
    await given_pages(events, ALICE, 4)
    await given_pages(events, BOB, 1)


class ScanContract(ScanFieldContract):
    """Claims about `scan`."""

    @pytest.mark.spec("STO-5")
    async def test_a_scan_is_refused_after_close(self, stores: Stores) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS["events.scan"](stores)

    @pytest.mark.spec("STO-17")
    async def test_an_empty_log_has_no_rows(self, events: EventStore) -> None:
        columns = await events.scan(0)

        assert rows_of(columns) == []
        assert (columns.count, columns.last) == (0, 0)
        assert columns.domain_names == columns.edition_names == columns.type_names == []

    @pytest.mark.spec("STO-17")
    async def test_a_row_tells_all_of_a_page(self, events: EventStore) -> None:
        await given_pages(events, BOB, 1)
        made = page(0, type_url="t/pkg.Happened", created_at_ns=START_NS + 123_456_789)
        await events.append(WHATIF, 0, [made])

        columns = await events.scan(1)

        assert rows_of(columns) == [
            Row(2, 0, START_NS + 123_456_789, "account", "whatif", "pkg.Happened", ALICE.root)
        ]
        assert (columns.count, columns.last) == (1, 2)

    @pytest.mark.spec("STO-17")
    async def test_rows_are_those_of_the_log_in_its_order(self, events: EventStore) -> None:
        await given_log(events)

        rows = rows_of(await events.scan(0))

        assert rows == rows_of_log(await whole_log(events))
        assert [row.position for row in rows] == list(range(1, 12))

    @pytest.mark.spec("STO-17")
    async def test_vocabularies_have_each_name_once(self, events: EventStore) -> None:
        await given_log(events)

        columns = await events.scan(0)

        assert sorted(columns.domain_names) == ["account", "order"]
        assert sorted(columns.edition_names) == [MAIN, "whatif"]
        assert columns.type_names == [TYPE_URL.rpartition("/")[2]]

    @pytest.mark.spec("STO-17")
    async def test_vocabularies_are_those_of_the_answer(self, events: EventStore) -> None:
        await given_log(events)

        columns = await events.scan(2, limit=3)

        assert columns.domain_names == ["order"]
        assert columns.edition_names == [MAIN]

    @pytest.mark.spec("STO-17")
    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 11, 100])
    async def test_scans_follow_one_another_at_any_limit(
        self, events: EventStore, limit: int
    ) -> None:
        await given_log(events)

        assert await scan_all(events, limit=limit) == rows_of_log(await whole_log(events))

    @pytest.mark.spec("STO-17")
    @pytest.mark.parametrize(
        ("after", "limit", "last"),
        [(0, 1, 2), (0, 4, 2), (0, 5, 5), (0, 6, 6), (0, 9, 6), (0, 10, 10), (5, 1, 6), (6, 1, 10)],
    )
    async def test_a_limit_counts_positions_and_cuts_no_commit(
        self, events: EventStore, after: int, limit: int, last: int
    ) -> None:
        await given_log(events)

        columns = await events.scan(after, limit=limit)

        assert columns.last == last
        positions = [row.position for row in rows_of(columns)]
        assert positions == list(range(after + 1, last + 1))

    @pytest.mark.spec("STO-17")
    @pytest.mark.parametrize(("after", "limit", "last"), [(3, 1, 5), (3, 3, 6), (8, 2, 10)])
    async def test_a_scan_from_within_a_commit_has_the_rest_of_it(
        self, events: EventStore, after: int, limit: int, last: int
    ) -> None:
        await given_log(events)

        columns = await events.scan(after, limit=limit)

        assert columns.last == last
        assert [row.position for row in rows_of(columns)] == list(range(after + 1, last + 1))

    @pytest.mark.spec("STO-17")
    @pytest.mark.parametrize("after", [11, 12, 2**40])
    async def test_at_the_logs_end_a_scan_stays_where_it_is(
        self, events: EventStore, after: int
    ) -> None:
        await given_log(events)

        columns = await events.scan(after)

        assert (columns.count, columns.last) == (0, after)

    @pytest.mark.spec("STO-17")
    @pytest.mark.parametrize("limit", [0, -1])
    async def test_a_limit_of_nothing_is_refused(self, events: EventStore, limit: int) -> None:
        with pytest.raises(InvalidInput) as caught:
            await events.scan(0, limit=limit)

        assert caught.value.field == "limit"

    @pytest.mark.spec("STO-17", "STO-1")
    @pytest.mark.parametrize(
        ("editions", "positions"),
        [
            ([""], [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
            ([MAIN], [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
            (["whatif"], [6]),
            (["", "whatif"], list(range(1, 12))),
            (["what", "whatifs", "other"], []),
            ([], []),
        ],
    )
    async def test_editions_are_chosen_exactly(
        self, events: EventStore, editions: list[str], positions: list[int]
    ) -> None:
        await given_log(events)

        columns = await events.scan(0, editions=editions)

        assert [row.position for row in rows_of(columns)] == positions
        assert columns.last == 11

    @pytest.mark.spec("STO-17")
    @pytest.mark.parametrize(
        ("domains", "positions"),
        [
            (["order"], [3, 4, 5, 11]),
            (["account"], [1, 2, 6, 7, 8, 9, 10]),
            (["order", "account"], list(range(1, 12))),
            (["orders", "accoun"], []),
            ([], []),
        ],
    )
    async def test_domains_are_chosen_exactly(
        self, events: EventStore, domains: list[str], positions: list[int]
    ) -> None:
        await given_log(events)

        columns = await events.scan(0, domains=domains)

        assert [row.position for row in rows_of(columns)] == positions
        assert columns.last == 11

    @pytest.mark.spec("STO-17")
    async def test_edition_and_domain_are_both_to_fit(self, events: EventStore) -> None:
        await given_log(events)

        rows = rows_of(await events.scan(0, editions=[""], domains=["account"]))

        assert [row.position for row in rows] == [1, 2, 7, 8, 9, 10]

    @pytest.mark.spec("STO-17")
    async def test_what_is_left_out_counts_for_the_limit(self, events: EventStore) -> None:
        await given_log(events)

        columns = await events.scan(0, limit=5, editions=["whatif"])

        assert (columns.count, columns.last) == (0, 5)
        assert [r.position for r in await scan_all(events, limit=5, editions=["whatif"])] == [6]

    @pytest.mark.spec("STO-17", "CAS-9")
    async def test_held_pages_have_no_rows_and_markers_neither(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1", 2)
        assert [row.position for row in await scan_all(events)] == [1]
        await events.decide_cascade("casc-1", COMMIT)

        await events.resolve_cascade(ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        found = [(row.position, row.sequence) for row in await scan_all(events)]
        assert found == [(1, 0), (2, 1), (3, 2), (5, 4)]

    @pytest.mark.spec("STO-17", "CAS-7", "CAS-9")
    async def test_revoked_pages_have_no_rows(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1", 2)
        await events.decide_cascade("casc-1", ROLLBACK)
        await events.resolve_cascade(ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        columns = await events.scan(0)

        assert [(row.position, row.sequence) for row in rows_of(columns)] == [(1, 0), (5, 4)]
        assert columns.last == 5

    @pytest.mark.spec("STO-17")
    async def test_framework_events_have_no_rows(self, events: EventStore) -> None:
        made = [
            page(0, type_url=FRAMEWORK_URL + "Compensate"),
            page(1, type_url="t/angzarr.sub.Happened"),
            page(2, type_url="other/angzarr.NoOp"),
            page(3, type_url="plain"),
            page(4, type_url="t/angzarr"),
        ]
        await events.append(ALICE, 0, made)

        columns = await events.scan(0)

        found = [(row.sequence, row.type) for row in rows_of(columns)]
        assert found == [(1, "angzarr.sub.Happened"), (3, "plain"), (4, "angzarr")]
        assert sorted(columns.type_names) == ["angzarr", "angzarr.sub.Happened", "plain"]

    @pytest.mark.spec("STO-17")
    async def test_a_page_without_an_event_has_a_row_without_a_type(
        self, events: EventStore
    ) -> None:
        await events.append(ALICE, 0, [b"\x0a\x02\x08\x00", page(1, created_at_ns=None)])

        found = [(row.sequence, row.type, row.time_ns) for row in await scan_all(events)]

        assert found == [(0, "", 0), (1, "test.Happened", 0)]

    @pytest.mark.spec("STO-17")
    async def test_times_are_exact_before_the_epoch_too(self, events: EventStore) -> None:
        times = [-1, -1_000_000_001, 1, 2**62]
        await events.append(ALICE, 0, [page(n, created_at_ns=t) for n, t in enumerate(times)])

        assert [row.time_ns for row in await scan_all(events)] == times

    @pytest.mark.spec("STO-17", "EDN-14")
    async def test_pages_of_deleted_editions_have_no_rows(self, events: EventStore) -> None:
        await given_log(events)
        await given_pages(events, WHATIF, 2)
        await events.delete_edition("account", "whatif")
        await given_pages(events, WHATIF, 1)

        columns = await events.scan(0)

        positions = [row.position for row in rows_of(columns)]
        assert positions == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 14]
        assert columns.last == 14
        assert rows_of(columns) == rows_of_log(await whole_log(events))

    @pytest.mark.spec("STO-17", "EDN-14")
    async def test_positions_of_deleted_editions_are_looked_at(self, events: EventStore) -> None:
        await given_log(events)
        await given_pages(events, WHATIF, 4)
        await events.delete_edition("account", "whatif")

        assert (await events.scan(5, limit=1)).last == 6
        assert (await events.scan(11, limit=2)).last == 15
        assert (await events.scan(11, limit=2)).count == 0

    @pytest.mark.spec("STO-17", "EDN-21")
    async def test_branches_have_rows_of_their_own_pages_only(self, stores: Stores) -> None:
        cover, _ = await given_levels(stores, 3)

        rows = await scan_all(stores.events, editions=[cover.edition])

        assert [(row.sequence, row.edition) for row in rows] == [(8, "l3"), (9, "l3")]

    @pytest.mark.spec("STO-17", "STO-2")
    async def test_reopening_keeps_the_rows(self, opener: Opener) -> None:
        events = (await opener()).events
        await given_log(events)
        await given_pending(events, ALICE, "casc-1", 2)
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(ALICE, "casc-1")
        before = await events.scan(0)

        events = (await opener()).events

        assert rows_of(await events.scan(0)) == rows_of(before)

    @pytest.mark.spec("STO-17")
    async def test_many_rows_come_in_one_answer(self, events: EventStore) -> None:
        for n in range(12):
            await given_pages(events, cover_of(f"root-{n}"), 1_000)
        payload = FieldSpec("payload", "payload")

        columns = await events.scan(0, fields=[payload])

        rows = rows_of(columns)
        assert (columns.count, columns.last) == (12_000, 12_000)
        assert [row.sequence for row in rows] == list(range(1_000)) * 12
        assert rows[-1].fields == (b"event 999",)

    @pytest.mark.spec("STO-17")
    async def test_large_payloads_come_whole(self, events: EventStore) -> None:
        payloads = [bytes([n]) * 600_000 for n in range(12)]
        for n, payload in enumerate(payloads):
            await events.append(cover_of(f"root-{n}"), 0, [page(0, value=payload)])

        columns = await events.scan(0, fields=[FieldSpec("payload", "payload")])

        assert [row.fields for row in rows_of(columns)] == [(payload,) for payload in payloads]

    @pytest.mark.spec("STO-17")
    async def test_rows_and_the_tail_agree_on_a_mixed_log(self, stores: Stores) -> None:
        events = stores.events
        await given_levels(stores, 3)
        for turn in range(24):
            cover = (ALICE, BOB, WHATIF, cover_of("carl"))[turn % 4]
            await given_pages(events, cover, 1 + turn % 3)
            if turn % 5 == 1:
                await given_pending(events, cover, f"casc-{turn}", 2)
            if turn % 5 == 4:
                await events.decide_cascade(f"casc-{turn - 3}", (COMMIT, ROLLBACK)[turn % 2])
                for participant in await events.query_cascade_participants(f"casc-{turn - 3}"):
                    await events.resolve_cascade(participant.cover, f"casc-{turn - 3}")

        wanted = rows_of_log(await whole_log(events))

        assert len(wanted) > 40
        for limit in (1, 5, 17, 1_000):
            assert await scan_all(events, limit=limit) == wanted

    @pytest.mark.spec("STO-17")
    async def test_a_field_that_says_nothing_is_refused(self, events: EventStore) -> None:
        path = FieldPath("pkg.Happened", numbers=(1,), encoding="varint")
        wrong = [
            FieldSpec("x", "number", (path,)),  # pyright: ignore[reportArgumentType]
            FieldSpec("x", "int", (FieldPath("pkg.Happened", numbers=(1,), encoding="word"),)),
            FieldSpec("x", "int", (FieldPath("pkg.Happened", numbers=(1,)),)),
            FieldSpec("x", "int", (FieldPath("pkg.Happened", numbers=(0,), encoding="varint"),)),
            FieldSpec("x", "int", (FieldPath("pkg.Happened", numbers=(2**29,), encoding="bool"),)),
        ]

        for spec in wrong:
            with pytest.raises(InvalidInput):
                await events.scan(0, fields=[spec])
        assert (await events.scan(0, fields=[FieldSpec("x", "int", (path,))])).count == 0

    @pytest.mark.spec("STO-17")
    async def test_scans_while_others_write_have_every_row_once(self, events: EventStore) -> None:
        async def write(number: int) -> None:
            for turn in range(10):
                await given_pages(events, cover_of(f"root-{number}"), 1 + (number + turn) % 3)

        writers = [asyncio.create_task(write(number)) for number in range(8)]
        rows: list[Row] = []
        after = 0
        while not all(writer.done() for writer in writers):
            columns = await events.scan(after, limit=9)
            rows += rows_of(columns)
            after = columns.last
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        while (columns := await events.scan(after)).last != after:
            rows += rows_of(columns)
            after = columns.last

        assert rows == rows_of_log(await whole_log(events))
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
