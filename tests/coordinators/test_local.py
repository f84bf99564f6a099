"""Coordinators over a real aggregate in this process, without any fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from angzarr import codec, wire
from angzarr.coordinators import CommandCoordinator, CommandOptions, SnapshotOptions
from angzarr.cover import Cover, root_of
from angzarr.errors import CascadeConflict, CommandRejected, SequenceMismatch
from angzarr.handlers import Aggregate, LocalCommandHandler, applies, command, reject
from angzarr.ports.components import CallContext
from angzarr.stores.registry import open_stores


@dataclass(frozen=True)
class Stock:
    item: str
    count: int


@dataclass(frozen=True)
class Stocked:
    item: str
    count: int


@dataclass(frozen=True)
class Rename:
    name: str


@dataclass(frozen=True)
class Renamed:
    name: str


class Shelf(Aggregate, domain="shelf"):
    name: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    @command
    def stock(self, cmd: Stock) -> Stocked:
        if cmd.count < 0:
            reject("fewer than nothing")
        return Stocked(cmd.item, cmd.count)

    @command
    def rename(self, cmd: Rename) -> Renamed:
        return Renamed(cmd.name)

    @applies
    def stocked(self, event: Stocked) -> None:
        self.counts[event.item] = self.counts.get(event.item, 0) + event.count

    @applies
    def renamed(self, event: Renamed) -> None:
        self.name = event.name


class Shop:
    def __init__(self, place: str, options: CommandOptions | None = None) -> None:
        self.stores = open_stores(place)
        self.handler = LocalCommandHandler(Shelf)
        self.commands = CommandCoordinator(self.stores, {"shelf": self.handler}, options=options)
        self.cover = Cover("shelf", root_of("a"))

    async def send(self, payload, at, strategy=wire.MERGE_COMMUTATIVE, cascade_id=""):
        request = wire.CommandRequest()
        cover = request.command.cover
        cover.domain, cover.root.value = self.cover.domain, self.cover.root
        page = request.command.pages.add(merge_strategy=strategy)
        page.header.sequence = at
        page.command.CopyFrom(codec.pack(payload, "shelf"))
        if cascade_id:
            request.cascade_id = cascade_id
        answer = await self.commands.handle_command(request.SerializeToString(), CallContext())
        return wire.CommandResponse.FromString(answer).events

    async def close(self) -> None:
        await self.commands.close()
        await self.stores.close()


@pytest.fixture(params=["memory", "rocksdb"])
async def shop(request, tmp_path) -> AsyncIterator[Shop]:
    options = CommandOptions(snapshots=SnapshotOptions(every=4))
    made = Shop(f"{request.param}://{tmp_path}/store", options)
    yield made
    await made.close()


async def test_commands_are_decided_on_the_state_that_earlier_ones_left(shop):
    await shop.send(Stock("pear", 1), 0)

    book = await shop.send(Stock("pear", 2), 1)

    assert codec.unpack(book.pages[0].event, Stocked, "shelf") == Stocked("pear", 2)
    assert book.next_sequence == 2


async def test_a_handler_here_decides_on_messages_and_not_on_their_bytes(shop, monkeypatch):
    async def handle(request: bytes, context: CallContext) -> bytes:
        raise AssertionError("it was asked in bytes")

    monkeypatch.setattr(shop.handler, "handle", handle)

    book = await shop.send(Stock("pear", 1), 0)

    assert codec.unpack(book.pages[0].event, Stocked, "shelf") == Stocked("pear", 1)


async def test_a_rejection_reaches_the_caller(shop):
    with pytest.raises(CommandRejected, match=r"^fewer than nothing$"):
        await shop.send(Stock("pear", -1), 0)


@pytest.mark.spec("CMD-15", "CMD-20", "CMD-21", "CMD-22")
async def test_changes_of_different_keys_of_a_map_are_disjoint(shop):
    await shop.send(Stock("pear", 1), 0)
    await shop.send(Stock("apple", 1), 1)

    book = await shop.send(Stock("pear", 5), 1)

    assert book.pages[0].header.sequence == 2


@pytest.mark.spec("CMD-15", "CMD-21", "CMD-22")
async def test_changes_of_one_key_of_a_map_overlap_and_name_it(shop):
    await shop.send(Stock("pear", 1), 0)
    await shop.send(Stock("pear", 1), 1)

    with pytest.raises(SequenceMismatch, match="overlapping fields") as refused:
        await shop.send(Stock("pear", 5), 1)

    assert refused.value.fields == ("counts[pear]",)


@pytest.mark.spec("CMD-20")
async def test_the_very_first_state_is_that_of_an_empty_stream(shop):
    await shop.send(Rename("left"), 0)

    assert (await shop.send(Stock("pear", 5), 0)).pages[0].header.sequence == 1
    with pytest.raises(SequenceMismatch, match="overlapping fields"):
        await shop.send(Rename("right"), 0)


@pytest.mark.spec("SNAP-7", "SNAP-4")
async def test_an_automatic_snapshot_is_the_base_of_the_next_command(shop):
    for n in range(4):
        await shop.send(Stock("pear", 1), n)
    await shop.commands.close()

    snapshot = wire.Snapshot.FromString(await shop.stores.snapshots.get(shop.cover) or b"")
    loaded = wire.EventBook.FromString((await shop.stores.events.load_latest(shop.cover)).data)
    book = await shop.send(Stock("pear", 1), 4)

    assert snapshot.sequence == 3
    assert len(loaded.pages) == 0
    assert book.pages[0].header.sequence == 4


@pytest.mark.spec("CAS-20", "CAS-21")
async def test_a_cascade_locks_the_fields_that_it_changed(shop):
    await shop.send(Stock("pear", 1), 0, cascade_id="X")

    await shop.send(Stock("apple", 1), 1)

    with pytest.raises(
        CascadeConflict, match=r"fields \{counts\[pear\]\} locked by cascades \[X\]"
    ):
        await shop.send(Stock("pear", 1), 2)
