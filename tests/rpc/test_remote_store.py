"""The store of another process: several users, sizes and waits, and what it says of itself.

What it promises as a store is in test_remote_store_contracts.py, what becomes of calls when a
connection breaks in test_store_link.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from angzarr.errors import InvalidInput, StoreUnavailable
from angzarr.ports.event_store import Appended, Book, Limits, Obligation
from angzarr.rpc import remote_store
from angzarr.rpc.tls import TlsFiles
from angzarr.stores import open_stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.pages import cover_of, page, pages

from .served_stores import Holding, Host, WithEvents

ALICE = cover_of("alice")
DUTIES = [Obligation(f"duty-{number:02}", "kind", b"", due_ns=1) for number in range(40)]


# Several users


@pytest.mark.spec("STO-23", "DEP-11", "DEP-14")
async def test_users_share_what_is_due(host: Host) -> None:
    for duty in DUTIES:
        await host.stores.obligations.put(duty)
    users = [host.user() for _ in range(4)]

    shares = await asyncio.gather(
        *(user.obligations.due(1, limit=7) for user in users for _ in range(2))
    )

    assert sorted(item.id for share in shares for item in share) == [duty.id for duty in DUTIES]


@pytest.mark.spec("STO-23", "DEP-11")
async def test_one_users_lease_of_a_duty_ends_with_the_others_retry(host: Host) -> None:
    one, other = host.user(), host.user()
    await one.obligations.put(DUTIES[0])
    [seen] = await one.obligations.due(1, lease_s=3_600)

    await other.obligations.retry(seen.id, 5, "late", seen=seen)

    assert [item.attempts for item in await other.obligations.due(5)] == [1]


@pytest.mark.spec("STO-22", "DEP-11", "DEP-14")
async def test_one_user_has_a_consumers_lease_until_it_ends_or_is_given_back(
    host: Host, clock: ManualClock
) -> None:
    one, other = host.user().positions, host.user().positions

    assert await one.lease("saga-a", 0, "one", 15)
    assert not await other.lease("saga-a", 0, "other", 15)
    assert await other.lease("saga-a", 1, "other", 15)
    clock.advance(15)
    assert await other.lease("saga-a", 0, "other", 15)
    assert not await one.lease("saga-a", 0, "one", 15)
    assert await other.lease("saga-a", 0, "other", 0)
    assert await one.lease("saga-a", 0, "one", 15)


@pytest.mark.spec("STO-22", "DEP-11", "DEP-12", "DEP-14")
async def test_a_user_goes_on_where_another_one_stopped(host: Host) -> None:
    one = host.user()
    await one.positions.put_cursor("saga-a", 7)
    await one.positions.put("saga-a", ALICE, 3)
    await one.close()

    other = host.user().positions

    assert (await other.cursor("saga-a"), await other.get("saga-a", ALICE)) == (7, 3)


@pytest.mark.spec("STO-14", "DEP-11")
async def test_an_append_by_one_wakes_the_tail_of_another(host: Host) -> None:
    waiting = asyncio.create_task(host.user().events.tail(0, wait_s=20))
    await host.waited_for_by(1)

    await host.user().events.append(ALICE, 0, pages(0, 1))

    assert [entry.position for entry in await waiting] == [1]


# Sizes and waits


@pytest.mark.spec("STO-16", "WIRE-14")
async def test_a_book_over_the_message_limit_is_whole(host: Host) -> None:
    await host.stop()
    host.options["message_size_kb"] = 64
    await host.start()
    for first in (0, 1_000):
        await host.stores.events.append(ALICE, first, pages(first, 1_000))

    book = await host.user().events.load(ALICE)

    assert book == await host.stores.events.load(ALICE)
    assert len(book.data) > 64 * 1024


@pytest.mark.spec("STO-23", "WIRE-14")
async def test_duties_over_the_message_limit_are_given_and_leased_once(host: Host) -> None:
    """Asked again, the server would say that nothing is due: it is leased."""
    await host.stop()
    host.options["message_size_kb"] = 64
    await host.start()
    made = [Obligation(f"duty-{n}", "kind", bytes(30_000), due_ns=1) for n in range(4)]
    for duty in made:
        await host.stores.obligations.put(duty)

    assert await host.user().obligations.due(1) == made


@pytest.mark.spec("STO-6", "WIRE-14")
async def test_a_request_over_the_message_limit_is_too_large(host: Host) -> None:
    await host.stop()
    host.options["message_size_kb"] = 64
    await host.start()

    with pytest.raises(InvalidInput, match="request of Call has"):
        await host.user().events.append(ALICE, 0, [page(0, value=bytes(70_000))])


@pytest.mark.spec("DEP-12")
async def test_bytes_that_are_no_book_come_as_they_are(host: Host) -> None:
    odd = Book(b"\xff\xff not a book", 2**32, False)

    class Odd(Holding):
        async def load(self, *_: Any, **__: Any) -> Book:
            return odd

    await host.stop()
    host.stores = WithEvents(host.stores, Odd(host.stores.events))
    await host.start()

    assert await host.user().events.load(ALICE) == odd


@pytest.mark.spec("STO-14")
async def test_a_long_wait_is_several_calls(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_store, "POLL_S", 0.01)
    waiting = asyncio.create_task(host.user().events.tail(0, wait_s=3_600))
    for _ in range(3):
        await host.waited_for_by(1)
        await host.waited_for_by(0)

    await host.stores.events.append(ALICE, 0, pages(0, 1))

    assert [entry.position for entry in await waiting] == [1]


@pytest.mark.spec("STO-2")
@pytest.mark.parametrize(
    ("opened", "asked", "wanted"),
    [(True, None, None), (False, None, False), (False, True, True), (True, False, False)],
)
async def test_a_store_opened_without_sync_asks_for_appends_without(
    host: Host, opened: bool, asked: bool | None, wanted: bool | None
) -> None:
    seen: list[bool | None] = []

    class Noting(Holding):
        async def append(self, *given: Any, sync: bool | None = None, **options: Any) -> Any:
            seen.append(sync)
            return await self._inner.append(*given, **options)

    await host.stop()
    host.stores = WithEvents(host.stores, Noting(host.stores.events))
    await host.start()

    await host.user(sync=opened).events.append(ALICE, 0, pages(0, 1), sync=asked)

    assert seen == [wanted]


# Addresses, facts, backups


@pytest.mark.spec("DEP-11", "DEP-17")
async def test_a_store_is_reached_by_a_unix_socket(clock: ManualClock, tmp_path: Path) -> None:
    host = Host(open_stores("memory://", clock=clock), port=None, socket=tmp_path / "s.sock")
    await host.start()
    stores = open_stores(f"grpc+unix://{tmp_path}/s.sock")

    assert await stores.events.append(ALICE, 0, pages(0, 1)) == Appended(0, 0)
    assert stores.facts().url == f"grpc+unix://{tmp_path}/s.sock"
    await stores.close()
    await host.close()


@pytest.mark.spec("DEP-11", "DEP-17", "OPS-10")
async def test_a_store_is_reached_by_mutual_tls(clock: ManualClock, pems: Path) -> None:
    def files(name: str) -> TlsFiles:
        return TlsFiles(
            cert=str(pems / f"{name}.pem"),
            key=str(pems / f"{name}.key"),
            ca=str(pems / "ca.pem"),
            require_client_cert=True,
        )

    host = Host(open_stores("memory://", clock=clock), tls=files("localhost"))
    await host.start()
    host.address = host.address.replace("127.0.0.1", "localhost")

    with pytest.raises(StoreUnavailable):
        await host.user().events.log_head()
    assert await host.user(tls=files("client")).events.log_head() == 0
    await host.close()


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        open_stores("grpc://nowhere")


async def test_facts_are_the_servers_after_it_was_asked(host: Host) -> None:
    stores = host.user()
    before = stores.facts()

    asked = await stores.ask_facts()

    assert (before.details["server"], before.size_bytes) == ("not reached yet", 0)
    assert (asked.url, asked.is_durable) == (f"grpc://{host.address}", False)
    assert asked.details["server"] == "memory://"
    assert stores.facts() == asked


async def test_asking_for_the_facts_has_them_asked_for(host: Host) -> None:
    stores = host.user()
    stores.facts()

    while stores.facts().details["server"] != "memory://":
        await stores.events.log_head()

    assert not stores.facts().is_durable


async def test_facts_say_why_they_are_old(host: Host) -> None:
    stores = host.user()
    await stores.ask_facts()
    await host.stop()

    with pytest.raises(StoreUnavailable):
        await stores.ask_facts()

    facts = stores.facts()
    assert facts.details["server"] == "memory://"
    assert "UNAVAILABLE" in facts.details["unreachable"]


@pytest.mark.spec("DEP-11")
async def test_a_backup_is_made_by_the_server(tmp_path: Path) -> None:
    host = Host(open_stores(f"rocksdb://{tmp_path}/store", limits=Limits()))
    await host.start()
    await host.stores.events.append(ALICE, 0, pages(0, 5))
    told: list[tuple[int, int]] = []

    await host.user().backup(tmp_path / "copy", lambda *bytes_of: told.append(bytes_of))

    assert (tmp_path / "copy" / "manifest.json").is_file()
    assert told
    assert told[-1][0] == told[-1][1] > 0
    with pytest.raises(InvalidInput, match="empty"):
        await host.user().backup(tmp_path / "copy")
    await host.close()


async def test_a_store_in_memory_has_no_backup_from_afar_either(host: Host, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="on disk for a backup"):
        await host.user().backup(tmp_path / "copy")
