"""The worked examples of docs/spec, literally, through the Python API of an app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from angzarr import Aggregate, App, applies, command
from angzarr.caller import Domain
from angzarr.cover import Cover, root_of
from angzarr.errors import EditionConflict, SequenceMismatch
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.testing.pages import parse_book, sequences_of, snapshot
from angzarr.wire import RETENTION_DEFAULT, RETENTION_PERSIST, RETENTION_TRANSIENT, Snapshot

ROOT = "one"


@dataclass(frozen=True)
class Add:
    what: str


@dataclass(frozen=True)
class Added:
    what: str


class Tally(Aggregate, domain="tally"):
    """What was added, in order: its state tells which pages were read."""

    seen: list[str] = []

    @command(merge="strict")
    def add(self, cmd: Add) -> Added:
        return Added(cmd.what)

    @applies
    def added(self, event: Added) -> None:
        self.seen.append(event.what)


@pytest.fixture(params=["memory", "rocksdb"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    if request.param == "rocksdb":
        pytest.importorskip("angzarr._native")
    async with App(Tally, store=f"{request.param}://{tmp_path}/store", sync=False) as app:
        yield app


@pytest.fixture
def main(app: App) -> Domain:
    return app.domain(Tally)


async def grow(domain: Domain, name: str, first: int, last: int) -> None:
    """Add pages `first` to `last`, each stamped with its sequence."""
    for sequence in range(first, last + 1):
        sent = await domain.send(ROOT, Add(f"{name} {sequence}"), expected_sequence=sequence)
        assert sent.sequences == (sequence,)


async def read(domain: Domain, **selection: int) -> list[str]:
    """The events, as whose they are and their sequence; what the state is made of, too."""
    events = [event async for event in domain.events(ROOT, **selection)]
    found = [event.payload.what for event in events]
    assert [event.sequence for event in events] == [int(each.split()[1]) for each in found]
    return found


def of(name: str, first: int, last: int) -> list[str]:
    return [f"{name} {sequence}" for sequence in range(first, last + 1)]


# ---- EDN-6: divergence reads ----


@pytest.fixture
async def whatif(main: Domain) -> Domain:
    """Main has pages 0–6. Branch `whatif` diverges at N=3."""
    await grow(main, "main", 0, 6)
    return main.on("whatif", divergence=3)


@pytest.mark.spec("EDN-5", "EDN-6")
async def test_the_base_of_a_branch_is_what_lies_below_its_divergence(whatif: Domain) -> None:
    book = await whatif.book(ROOT)

    assert await read(whatif) == of("main", 0, 2)
    assert book.next_sequence == 3
    assert (await whatif.state(ROOT)).seen == of("main", 0, 2)


@pytest.mark.spec("EDN-6", "EDN-9")
@pytest.mark.parametrize("stamp", [2, 4, 7])
async def test_the_stamp_of_its_first_command_must_be_its_divergence(
    whatif: Domain, stamp: int
) -> None:
    with pytest.raises(SequenceMismatch):
        await whatif.send(ROOT, Add("early or late"), expected_sequence=stamp)


@pytest.mark.spec("EDN-3", "EDN-6", "EDN-8", "EDN-10")
async def test_it_reads_the_same_when_main_has_grown(main: Domain, whatif: Domain) -> None:
    await grow(whatif, "whatif", 3, 3)

    await grow(main, "main", 7, 8)

    assert await read(whatif) == [*of("main", 0, 2), "whatif 3"]
    assert await read(main.on("whatif")) == [*of("main", 0, 2), "whatif 3"]
    assert await read(main) == of("main", 0, 8)


@pytest.mark.spec("EDN-3", "EDN-6", "QRY-6", "QRY-8")
async def test_a_range_and_an_as_of_reach_over_the_divergence(whatif: Domain) -> None:
    await grow(whatif, "whatif", 3, 3)

    assert await read(whatif, first=1, last=3) == [*of("main", 1, 2), "whatif 3"]
    assert await read(whatif, at=1) == of("main", 0, 1)
    assert (await whatif.state(ROOT, at=1)).seen == of("main", 0, 1)


@pytest.mark.spec("EDN-4", "EDN-6")
async def test_a_branch_without_divergence_and_pages_follows_main(
    main: Domain, whatif: Domain
) -> None:
    live = main.on("live")

    await grow(main, "main", 7, 8)

    assert await read(live) == of("main", 0, 8)
    assert (await live.book(ROOT)).next_sequence == 9


@pytest.mark.spec("EDN-4", "EDN-6", "EDN-8")
async def test_its_first_write_pins_it(app: App, main: Domain, whatif: Domain) -> None:
    live = main.on("live")
    await grow(main, "main", 7, 8)

    await grow(live, "live", 9, 9)
    await grow(main, "main", 9, 10)

    assert await read(live) == [*of("main", 0, 8), "live 9"]
    assert await app.stores.events.divergence(Cover("tally", root_of(ROOT), "live")) == 9


# ---- EDN-21: nested editions ----


@dataclass(frozen=True)
class Family:
    """Main 0–9. `a` diverges at 4 and writes 4, 5, 6. `b`, declared with parent `a`, diverges at 6
    and writes 6, 7."""

    a: Domain
    b: Domain
    c: Domain
    d: Domain


@pytest.fixture
async def family(app: App, main: Domain) -> Family:
    await grow(main, "main", 0, 9)
    await grow(main.on("a", divergence=4), "a", 4, 6)
    editions = app.stores.editions
    await editions.declare("b", parent="a")
    await editions.declare("c", parent="b")
    await editions.declare("d", parent="a")
    await grow(main.on("b", divergence=6), "b", 6, 7)
    return Family(main.on("a"), main.on("b"), main.on("c", divergence=3), main.on("d"))


@pytest.mark.spec("EDN-21")
async def test_a_nested_branch_reads_its_parents_branch_below_its_divergence(
    family: Family,
) -> None:
    expected = [*of("main", 0, 3), *of("a", 4, 5), *of("b", 6, 7)]

    assert await read(family.b) == expected
    assert (await family.b.state(ROOT)).seen == expected


@pytest.mark.spec("EDN-21")
async def test_what_the_parent_writes_later_changes_nothing(family: Family) -> None:
    before = await read(family.b)

    await grow(family.a, "a", 7, 7)

    assert await read(family.b) == before


@pytest.mark.spec("EDN-21")
async def test_a_divergence_below_the_parents_own_reads_main_and_goes_on_there(
    family: Family,
) -> None:
    assert await read(family.c) == of("main", 0, 2)

    await grow(family.c, "c", 3, 3)

    assert await read(family.c) == [*of("main", 0, 2), "c 3"]


@pytest.mark.spec("EDN-21")
async def test_a_nested_branch_without_divergence_and_pages_follows_its_parent(
    family: Family,
) -> None:
    await grow(family.a, "a", 7, 7)

    assert await read(family.d) == await read(family.a) == [*of("main", 0, 3), *of("a", 4, 7)]
    assert (await family.d.book(ROOT)).next_sequence == 8


@pytest.mark.spec("EDN-20")
async def test_a_written_branch_of_main_is_no_branch_of_another(app: App, family: Family) -> None:
    with pytest.raises(EditionConflict):
        await app.stores.editions.declare("a", parent="b")


# ---- SNAP-6: retention ----

PUTS = {3: RETENTION_DEFAULT, 7: RETENTION_PERSIST, 9: RETENTION_TRANSIENT, 12: RETENTION_DEFAULT}
KEPT = {1: [{3}, {7}, {7, 9}, {7, 12}], 2: [{3}, {3, 7}, {7, 9}, {7, 12}]}


@pytest.mark.spec("SNAP-6")
@pytest.mark.parametrize("keep_last", KEPT)
async def test_snapshots_are_kept_as_the_example_says(
    app: App, main: Domain, keep_last: int
) -> None:
    await grow(main, "main", 0, 12)
    cover, store = Cover("tally", root_of(ROOT)), app.stores.snapshots

    kept: list[set[int]] = []
    for sequence, retention in PUTS.items():
        data = snapshot(sequence, retention=retention)
        await store.put(cover, data, SnapshotPolicy(keep_last))
        found = [await store.get_at(cover, each) for each in range(13)]
        kept.append({parse_snapshot(each) for each in found if each is not None})

    assert kept == KEPT[keep_last]


def parse_snapshot(data: bytes) -> int:
    return Snapshot.FromString(data).sequence


# ---- SNAP-10: snapshots under branches ----


@pytest.mark.spec("SNAP-10")
@pytest.mark.parametrize(("divergence", "base"), [(100, 99), (99, 49)])
async def test_a_branch_is_loaded_from_mains_newest_snapshot_below_its_divergence(
    app: App, main: Domain, divergence: int, base: int
) -> None:
    await grow(main, "main", 0, 159)
    for sequence in (49, 99, 149):
        data = snapshot(sequence, retention=RETENTION_PERSIST)
        await app.stores.snapshots.put(Cover("tally", root_of(ROOT)), data)
    cover = Cover("tally", root_of(ROOT), "whatif")

    book = await app.stores.events.load_latest(cover, divergence=divergence)

    assert parse_book(book.data).snapshot.sequence == base
    assert sequences_of(book.data) == list(range(base + 1, divergence))


# ---- QRY-7: sequence sets ----


@pytest.mark.spec("QRY-7", "QRY-9")
async def test_a_set_gives_what_there_is_of_it_once_and_ascending(main: Domain) -> None:
    await grow(main, "main", 0, 9)

    book = await main.book(ROOT, sequences=[7, 3, 3, 12])

    assert [event.sequence for event in book] == [3, 7]
    assert book.next_sequence == 8
