"""Closing, reopening, and use in a fork (STO-2, STO-5, and "reopen" of STO-41 to STO-49)."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable

import pytest

from angzarr.errors import DivergenceConflict, StoreClosed, StoreForked
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.edition_store import EditionStore
from angzarr.ports.event_store import (
    COMMIT,
    Accepted,
    Appended,
    Dropped,
    EventStore,
    Obligation,
    Pending,
)
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.position_store import PositionStore
from angzarr.ports.snapshot_store import SnapshotStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.contracts import declared, lengths, scan
from angzarr.testing.contracts.base import (
    Opener,
    StoreContract,
    attempt,
    given_pages,
    given_pending,
    logged_sequences,
    whole_log,
)
from angzarr.testing.pages import book_of, cover_of, page, pages, provenance, snapshot

ALICE = cover_of("alice")
WHATIF = cover_of("alice", edition="whatif")
DUTY = Obligation("duty-1", "compensation", b"payload", due_ns=5)

Call = Callable[[Stores], Awaitable[object]]

CALLS: dict[str, Call] = {
    "events.append": lambda s: s.events.append(ALICE, 0, pages(0, 1)),
    "events.load": lambda s: s.events.load(ALICE),
    "events.load_until": lambda s: s.events.load_until(ALICE, START_NS),
    "events.load_latest": lambda s: s.events.load_latest(ALICE),
    "events.next_sequence": lambda s: s.events.next_sequence(ALICE),
    "events.divergence": lambda s: s.events.divergence(WHATIF),
    "events.pending": lambda s: s.events.pending(ALICE),
    "events.roots": lambda s: s.events.roots("account"),
    "events.domains": lambda s: s.events.domains(),
    "events.editions": lambda s: s.events.editions("account"),
    "events.by_correlation": lambda s: s.events.by_correlation("corr-1"),
    "events.find_by_provenance": lambda s: s.events.find_by_provenance(ALICE, provenance()),
    "events.find_by_external_id": lambda s: s.events.find_by_external_id(ALICE, "fact-1"),
    "events.delete_edition": lambda s: s.events.delete_edition("account", "whatif"),
    "events.query_stale_cascades": lambda s: s.events.query_stale_cascades(START_NS),
    "events.query_unfinished_cascades": lambda s: s.events.query_unfinished_cascades(),
    "events.query_cascade_participants": lambda s: s.events.query_cascade_participants("casc-1"),
    "events.decide_cascade": lambda s: s.events.decide_cascade("casc-1", COMMIT),
    "events.decision": lambda s: s.events.decision("casc-1"),
    "events.resolve_cascade": lambda s: s.events.resolve_cascade(ALICE, "casc-1"),
    "events.tail": lambda s: s.events.tail(0),
    "events.log_head": lambda s: s.events.log_head(),
    "snapshots.get": lambda s: s.snapshots.get(ALICE),
    "snapshots.get_at": lambda s: s.snapshots.get_at(ALICE, 3),
    "snapshots.put": lambda s: s.snapshots.put(ALICE, snapshot(0)),
    "snapshots.delete": lambda s: s.snapshots.delete(ALICE),
    "snapshots.delete_all": lambda s: s.snapshots.delete_all("account"),
    "positions.get": lambda s: s.positions.get("proj", ALICE),
    "positions.put": lambda s: s.positions.put("proj", ALICE, 1),
    "positions.cursor": lambda s: s.positions.cursor("proj"),
    "positions.put_cursor": lambda s: s.positions.put_cursor("proj", 1),
    "positions.reset": lambda s: s.positions.reset("proj"),
    "positions.lease": lambda s: s.positions.lease("proj", 0, "me", 30),
    "obligations.put": lambda s: s.obligations.put(DUTY),
    "obligations.get": lambda s: s.obligations.get("duty-1"),
    "obligations.due": lambda s: s.obligations.due(10),
    "obligations.next_due": lambda s: s.obligations.next_due(),
    "obligations.renew": lambda s: s.obligations.renew("duty-1", 9),
    "obligations.retry": lambda s: s.obligations.retry("duty-1", 9, "error"),
    "obligations.close": lambda s: s.obligations.close("duty-1"),
    "dead_letters.put": lambda s: s.dead_letters.put(b""),
    "dead_letters.list": lambda s: s.dead_letters.list(),
    "dead_letters.get": lambda s: s.dead_letters.get("1"),
    "dead_letters.delete": lambda s: s.dead_letters.delete("1"),
    "dead_letters.count_replay": lambda s: s.dead_letters.count_replay("1"),
}
"""A call of every method of every port, but those whose contracts have their own."""

PORTS: dict[str, type] = {
    "events": EventStore,
    "snapshots": SnapshotStore,
    "positions": PositionStore,
    "obligations": ObligationStore,
    "dead_letters": DeadLetterQueue,
    "editions": EditionStore,
}


def methods_of_ports() -> set[str]:
    """Names of all methods that the ports declare, as CALLS has them."""
    return {
        f"{port}.{name}"
        for port, protocol in PORTS.items()
        for name, member in vars(protocol).items()
        if callable(member) and not name.startswith("_")
    }


class DurabilityContract(StoreContract):
    """Claims about closing and opening again, for all ports of a backend."""

    @pytest.mark.spec("STO-5", "STO-40")
    @pytest.mark.parametrize("name", sorted(CALLS))
    async def test_every_method_is_refused_after_close(self, stores: Stores, name: str) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS[name](stores)

    @pytest.mark.spec("STO-5")
    async def test_no_method_of_the_ports_is_forgotten_here(self) -> None:
        calls = CALLS | declared.CALLS | lengths.CALLS | scan.CALLS

        assert set(calls) == methods_of_ports()

    @pytest.mark.spec("STO-5")
    async def test_closing_twice_is_fine(self, stores: Stores) -> None:
        await stores.close()
        await stores.close()

        with pytest.raises(StoreClosed):
            await stores.events.log_head()

    @pytest.mark.spec("STO-5")
    async def test_close_waits_for_accepted_appends(self, opener: Opener) -> None:
        stores = await opener()
        covers = [cover_of(f"root-{number}") for number in range(50)]
        tasks = [
            asyncio.create_task(attempt(stores.events.append(cover, 0, pages(0, 1))))
            for cover in covers
        ]
        await asyncio.sleep(0)

        await stores.close()

        results = await asyncio.gather(*tasks)
        assert all(isinstance(result, Appended | StoreClosed) for result in results)
        if opener.is_durable:
            accepted = [
                cover.root
                for cover, result in zip(covers, results, strict=True)
                if isinstance(result, Appended)
            ]
            assert await (await opener()).events.roots("account") == sorted(accepted)

    @pytest.mark.spec("STO-5")
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork to refuse")
    @pytest.mark.parametrize("name", ["events.append", "events.load", "events.log_head"])
    async def test_a_forked_child_is_refused(self, stores: Stores, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork among threads is the point
            child = os.fork()
        if not child:
            os._exit(_refused_in_child(CALLS[name](stores)))

        _, status = await asyncio.to_thread(os.waitpid, child, 0)

        assert os.waitstatus_to_exitcode(status) == 0

    @pytest.mark.spec("STO-2", "STO-46")
    async def test_pages_and_log_survive_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        made = await given_pages(events, ALICE, 5)
        log = await whole_log(events)

        events = (await opener()).events

        assert (await events.load(ALICE)).data == book_of(ALICE, made)
        assert await whole_log(events) == log
        assert await events.log_head() == 5

    @pytest.mark.spec("STO-2")
    async def test_unsynced_pages_survive_reopening(self, opener: Opener) -> None:
        events = (await opener(sync=False)).events
        made = await given_pages(events, ALICE, 5)

        events = (await opener(sync=False)).events

        assert (await events.load(ALICE)).data == book_of(ALICE, made)

    @pytest.mark.spec("STO-2", "STO-10")
    async def test_appends_go_on_after_reopening(self, opener: Opener) -> None:
        await given_pages((await opener()).events, ALICE, 5)

        events = (await opener()).events
        appended = await events.append(ALICE, 5, pages(5, 1))

        assert appended == Appended(5, 5)
        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3, 4, 5]
        assert await events.log_head() == 6

    @pytest.mark.spec("STO-2", "STO-41")
    async def test_names_and_correlations_survive_reopening(self, opener: Opener) -> None:
        cover = cover_of(edition="whatif", correlation_id="corr-1")
        made = await given_pages((await opener()).events, cover, 2)

        events = (await opener()).events

        assert await events.domains() == ["account"]
        assert await events.editions("account") == ["whatif"]
        assert await events.roots("account", "whatif") == [cover.root]
        assert [book.data for book in await events.by_correlation("corr-1")] == [
            book_of(cover, made)
        ]

    @pytest.mark.spec("STO-43", "EDN-8")
    async def test_a_pin_survives_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        await given_pages(events, ALICE, 7)
        await events.append(WHATIF, 3, pages(3, 1), divergence=3)
        await given_pages(events, ALICE, 2)

        events = (await opener()).events

        assert await events.divergence(WHATIF) == 3
        assert (await events.load(WHATIF)).data == book_of(WHATIF, pages(0, 4))
        with pytest.raises(DivergenceConflict):
            await events.load(WHATIF, divergence=4)

    @pytest.mark.spec("STO-43", "EDN-14", "EDN-17")
    async def test_a_deletion_survives_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        await given_pages(events, WHATIF, 3)
        await events.delete_edition("account", "whatif")
        await given_pages(events, WHATIF, 1)

        events = (await opener()).events

        assert await events.next_sequence(WHATIF) == 1
        assert [entry.position for entry in await whole_log(events)] == [4]
        assert await events.log_head() == 4

    @pytest.mark.spec("STO-44")
    async def test_keys_survive_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        made = pages(0, 1)
        await events.append(ALICE, 0, made, provenance=provenance(), answer=b"answer")
        await events.append(ALICE, 1, [], external_id="fact-1")

        events = (await opener()).events

        found = await events.find_by_provenance(ALICE, provenance())
        assert found == Accepted(tuple(made), b"answer")
        assert await events.find_by_external_id(ALICE, "fact-1") == Accepted((), b"")

    @pytest.mark.spec("STO-45", "CAS-11")
    async def test_undecided_cascades_survive_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        events = (await opener()).events

        assert await events.pending(ALICE) == [Pending(0, "casc-1", START_NS)]
        assert await events.query_stale_cascades(START_NS + 1) == ["casc-1"]
        assert await events.log_head() == 0

    @pytest.mark.spec("STO-45", "CAS-11", "CAS-17", "STO-46")
    async def test_a_decision_is_carried_out_after_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)
        decision = await events.decide_cascade("casc-1", COMMIT, "because")

        events = (await opener()).events
        marker = await events.resolve_cascade(ALICE, "casc-1")

        assert await events.decision("casc-1") == decision
        assert marker is not None
        assert logged_sequences(await whole_log(events)) == [0, 1, 2]

    @pytest.mark.spec("STO-46", "CAS-9")
    async def test_a_released_stream_is_free_after_reopening(self, opener: Opener) -> None:
        events = (await opener()).events
        await given_pending(events, ALICE, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(ALICE, "casc-1")
        log = await whole_log(events)

        events = (await opener()).events
        await given_pages(events, ALICE, 1)

        assert (await whole_log(events))[: len(log)] == log
        assert logged_sequences(await whole_log(events)) == [0, 1, 2]

    @pytest.mark.spec("STO-2", "STO-48")
    async def test_snapshots_survive_reopening(self, opener: Opener) -> None:
        stores = await opener()
        await given_pages(stores.events, ALICE, 3)
        await stores.snapshots.put(ALICE, snapshot(1))

        stores = await opener()

        assert await stores.snapshots.get(ALICE) == snapshot(1)
        expected = book_of(ALICE, pages(2, 1), snapshot=snapshot(1))
        assert (await stores.events.load_latest(ALICE)).data == expected

    @pytest.mark.spec("STO-2", "STO-49")
    async def test_positions_and_cursors_survive_reopening(self, opener: Opener) -> None:
        stores = await opener()
        await stores.positions.put("proj", ALICE, 0)
        await stores.positions.put_cursor("proj", 7)

        positions = (await opener()).positions

        assert await positions.get("proj", ALICE) == 0
        assert await positions.cursor("proj") == 7
        assert await positions.put_cursor("proj", 3) == 7

    @pytest.mark.spec("STO-22", "STO-49")
    async def test_a_lease_survives_reopening(self, opener: Opener) -> None:
        await (await opener()).positions.lease("proj", 0, "first", 30)

        positions = (await opener()).positions

        assert not await positions.lease("proj", 0, "second", 30)
        assert await positions.lease("proj", 0, "first", 30)

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_obligations_survive_reopening(self, opener: Opener) -> None:
        stores = await opener()
        await stores.events.append(ALICE, 0, [page(0)], obligations=[DUTY])
        await stores.obligations.put(Obligation("duty-2", "kind", b"", due_ns=6))
        await stores.obligations.retry("duty-2", 8, "unreachable")

        obligations = (await opener()).obligations

        assert await obligations.due(10) == [
            DUTY,
            Obligation("duty-2", "kind", b"", due_ns=8, attempts=1, last_error="unreachable"),
        ]

    @pytest.mark.spec("STO-23", "TIMER-2", "TIMER-3")
    async def test_what_replaced_and_what_was_dropped_survive_reopening(
        self, opener: Opener
    ) -> None:
        stores = await opener()
        await stores.obligations.put(DUTY)
        await stores.obligations.put(Obligation("duty-2", "kind", b"", due_ns=6))
        later = Obligation(DUTY.id, "timer", b"later", due_ns=9, is_replacing=True)
        await stores.events.append(ALICE, 0, [page(0)], obligations=[later, Dropped("duty-2")])

        obligations = (await opener()).obligations

        assert await obligations.due(8) == []
        assert await obligations.due(10) == [later]

    @pytest.mark.spec("STO-24")
    async def test_dead_letters_survive_reopening(self, opener: Opener) -> None:
        stores = await opener()
        letter_id = await stores.dead_letters.put(b"")
        await stores.dead_letters.count_replay(letter_id)
        stored = await stores.dead_letters.get(letter_id)

        dead_letters = (await opener()).dead_letters

        assert await dead_letters.list() == [stored]

    @pytest.mark.spec("STO-24")
    async def test_dead_letter_ids_go_on_after_reopening(self, opener: Opener) -> None:
        first = await (await opener()).dead_letters.put(b"")

        second = await (await opener()).dead_letters.put(b"")

        assert first < second


def _refused_in_child(call: Awaitable[object]) -> int:
    """The child's exit code: 0 if the call raised StoreForked before it waited for anything."""
    try:
        call.__await__().send(None)
    except StoreForked:
        return 0
    except BaseException:
        return 2
    return 1
