"""The store in plain Python on rocksdict keeps every contract, and what is its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from angzarr.errors import (
    FormatTooNew,
    InvalidInput,
    MissingExtra,
    SequenceConflict,
    SequenceExhausted,
    StoreLocked,
)
from angzarr.ports.event_store import SEQUENCE_MAX, Appended, Limits
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._rocksdict_streams import Head, encode
from angzarr.stores.rocksdict import DictStores, open_stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts import (
    DeadLetterContract,
    DeclaredEditionContract,
    EventStoreContract,
    LengthContract,
    NestedEditionContract,
    ObligationStoreContract,
    PositionStoreContract,
    ScanContract,
    SnapshotStoreContract,
)
from angzarr.testing.pages import book_of, cover_of, page, pages, sequences_of

MEMORY_DISK = Path("/dev/shm")
"""Opening a store flushes files several times; hundreds of stores need no real disk for that."""


class OnDisk:
    @pytest.fixture
    def place(self) -> Iterator[str]:
        where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="angzarr-", dir=where) as path:
            yield f"rocksdict://{path}/store"


class TestEvents(OnDisk, EventStoreContract): ...


class TestDeclaredEditions(OnDisk, DeclaredEditionContract): ...


class TestNestedEditions(OnDisk, NestedEditionContract): ...


class TestLengths(OnDisk, LengthContract): ...


class TestScans(OnDisk, ScanContract): ...


class TestSnapshots(OnDisk, SnapshotStoreContract): ...


class TestPositions(OnDisk, PositionStoreContract): ...


class TestObligations(OnDisk, ObligationStoreContract): ...


class TestDeadLetters(OnDisk, DeadLetterContract): ...


def as_in_format_1(stores: DictStores) -> None:
    """Take away what format 2 brought: positions by stream, and the stretches of branches."""
    db = stores.events._db
    batch = db.batch()
    for key, _ in db.items(keys.PLACE, keys.after(keys.PLACE)):
        batch.delete(key)
    for key, value in db.items(keys.STATE, keys.after(keys.STATE)):
        batch.put(key, encode(msgspec.msgpack.decode(value)[:3]))
    batch.put(keys.META + b"format", (1).to_bytes(4, "big"))
    db.write(batch, is_sync=True)


def opened(path: Path, *, sync: bool = True) -> DictStores:
    return open_stores(str(path), sync=sync, limits=Limits(), clock=ManualClock())


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run `script` in a process of its own; `stores` is open there, `path` its argument."""
    return subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=25
    )


OPEN = """
import asyncio, os, sys
from angzarr.stores import open_stores
from angzarr.testing.pages import cover_of, pages
stores = open_stores("rocksdict://" + sys.argv[1])
"""


@pytest.mark.spec("STO-60")
async def test_a_second_opener_in_the_process_is_refused(tmp_path: Path) -> None:
    stores = opened(tmp_path)

    with pytest.raises(StoreLocked) as raised:
        opened(tmp_path)

    assert raised.value.holder == os.getpid()
    await stores.close()


@pytest.mark.spec("STO-60", "STO-47")
async def test_a_second_process_is_refused_and_told_the_holder(tmp_path: Path) -> None:
    stores = opened(tmp_path)

    other = run(OPEN, tmp_path)

    assert f"StoreLocked: store rocksdict://{tmp_path}" in other.stderr
    assert f"process {os.getpid()} has it open" in other.stderr
    await stores.close()


async def test_a_refused_opener_leaves_the_open_store_usable(tmp_path: Path) -> None:
    stores = opened(tmp_path)

    with pytest.raises(StoreLocked):
        opened(tmp_path)

    await stores.events.append(cover_of(), 0, pages(0, 1))
    await stores.close()


@pytest.mark.spec("STO-5")
def test_a_forked_child_is_refused_with_both_process_ids(tmp_path: Path) -> None:
    script = (
        OPEN
        + """
child = os.fork()
if child == 0:
    try:
        asyncio.run(stores.events.append(cover_of(), 0, pages(0, 1)))
    except Exception as error:
        ids = error.opened_in == os.getppid(), error.used_in == os.getpid()
        print(type(error).__name__, *ids, flush=True)
    os._exit(0)
os.waitpid(child, 0)
asyncio.run(stores.events.append(cover_of(), 0, pages(0, 1)))
asyncio.run(stores.close())
"""
    )
    finished = run(script, tmp_path)

    assert (finished.stdout, finished.returncode) == ("StoreForked True True\n", 0)


@pytest.mark.spec("STO-2", "STO-3")
@pytest.mark.parametrize("sync", [True, False])
async def test_what_was_acknowledged_survives_a_killed_process(tmp_path: Path, sync: bool) -> None:
    script = (
        OPEN
        + f"""
for first in range(0, 30, 3):
    stores.events.append_now(cover_of(), first, pages(first, 3), sync={sync})
os.kill(os.getpid(), 9)
"""
    )
    run(script, tmp_path)

    stores = opened(tmp_path)
    assert (await stores.events.load(cover_of())).data == book_of(cover_of(), pages(0, 30))
    assert [entry.position for entry in await stores.events.tail(0)] == list(range(3, 31, 3))
    await stores.close()


@pytest.mark.spec("STO-60")
async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    stores = opened(tmp_path)
    batch = stores.events._db.batch()
    batch.put(keys.META + b"format", (keys.FORMAT_VERSION + 1).to_bytes(4, "big"))
    stores.events._db.write(batch, is_sync=True)
    await stores.close()

    with pytest.raises(FormatTooNew) as raised:
        opened(tmp_path)

    supported = keys.FORMAT_VERSION
    assert (raised.value.found, raised.value.supported) == (supported + 1, supported)


@pytest.mark.spec("STO-60", "QRY-16")
async def test_a_store_of_format_1_learns_positions_and_keeps_its_branches(tmp_path: Path) -> None:
    whatif = cover_of(edition="whatif")
    stores = opened(tmp_path)
    for first in range(4):
        await stores.events.append(cover_of(), first, pages(first, 1))
    await stores.events.append(whatif, 2, pages(2, 2), divergence=2)
    as_in_format_1(stores)
    await stores.close()

    stores = opened(tmp_path)

    found = [await stores.events.length_at(whatif, position) for position in range(8)]
    assert found == [0, 1, 2, 2, 2, 3, 4, 4]
    assert (await stores.events.load(whatif)).data == book_of(whatif, pages(0, 4))
    await stores.close()
    assert opened(tmp_path).facts().format_version == keys.FORMAT_VERSION


@pytest.mark.spec("EDN-4", "EDN-21")
async def test_no_thread_sees_on_a_branch_what_its_parent_wrote_after_the_pin(
    tmp_path: Path,
) -> None:
    stores = opened(tmp_path, sync=False)
    await stores.editions.declare("kid", parent="mum")
    covers = [cover_of(f"root-{n}") for n in range(100)]
    late: list[bytes] = []
    is_done = threading.Event()

    def read() -> None:
        while not is_done.is_set():
            for cover in covers:
                data = asyncio.run(stores.events.load(cover.on("kid"))).data
                if b"late" in data:
                    late.append(data)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for cover in covers:
        stores.events.append_now(cover.on("mum"), 0, pages(0, 2))
        stores.events.append_now(cover.on("kid"), 2, pages(2, 1))
        stores.events.append_now(cover.on("mum"), 2, [page(2, value=b"late")])
    is_done.set()
    for reader in readers:
        reader.join()

    assert late == []


@pytest.mark.spec("STO-10", "STO-40")
async def test_64_threads_take_every_sequence_once(tmp_path: Path) -> None:
    stores = opened(tmp_path, sync=False)
    won: list[int] = []

    def write() -> None:
        for sequence in range(20):
            try:
                stores.events.append_now(cover_of(), sequence, pages(sequence, 1))
            except SequenceConflict:
                continue
            won.append(sequence)

    threads = [threading.Thread(target=write) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == sorted(set(won))
    assert sequences_of((await stores.events.load(cover_of())).data) == sorted(won)
    await stores.close()


@pytest.mark.spec("STO-6", "STO-40")
async def test_the_last_sequence_is_taken_and_none_after_it(tmp_path: Path) -> None:
    stores = opened(tmp_path)
    full = Head(SEQUENCE_MAX, 0, False, {})  # 2³² pages take too long
    stores.events._streams.put_head(cover_of().stream, full)

    appended = await stores.events.append(cover_of(), SEQUENCE_MAX, [page(SEQUENCE_MAX)])

    assert appended == Appended(SEQUENCE_MAX, SEQUENCE_MAX)
    with pytest.raises(SequenceExhausted):
        await stores.events.append(cover_of(), SEQUENCE_MAX + 1, [page(0)])
    await stores.close()


async def test_a_backup_is_a_store(tmp_path: Path) -> None:
    stores = opened(tmp_path / "store")
    await stores.events.append(cover_of(), 0, pages(0, 3))
    steps: list[tuple[int, int]] = []

    await stores.backup(tmp_path / "copy", lambda done, total: steps.append((done, total)))

    await stores.close()
    copy = opened(tmp_path / "copy")
    assert (await copy.events.load(cover_of())).data == book_of(cover_of(), pages(0, 3))
    assert steps[-1][0] == steps[-1][1] > 0
    await copy.close()


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    stores = opened(tmp_path / "store")
    (tmp_path / "file").write_text("precious")

    with pytest.raises(InvalidInput):
        await stores.backup(tmp_path)

    await stores.close()


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)

    with pytest.raises(MissingExtra) as raised:
        opened(tmp_path)

    assert raised.value.extra == "baseline"


def test_a_url_needs_a_path() -> None:
    with pytest.raises(InvalidInput):
        open_stores("", sync=True, limits=Limits(), clock=ManualClock())
