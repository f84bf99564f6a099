"""What RocksDB does when the disk fails or lies (STO-2, STO-3, STO-30)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from angzarr.errors import AngzarrError, CorruptData, StoreUnavailable
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.testing.contracts.base import whole_log
from angzarr.testing.pages import cover_of, page_of_size, pages

ALICE = cover_of("alice")
FAILURES = ("group.before_write", "group.after_write")

FILL = """
import asyncio, resource, signal, sys
from angzarr.errors import StoreUnavailable
from angzarr.stores import open_stores
from angzarr.testing.pages import cover_of, page_of_size

async def main():
    stores = open_stores(sys.argv[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    cover = cover_of("alice")
    for sequence in range(100_000):
        try:
            await stores.events.append(cover, sequence, [page_of_size(sequence, 100_000)])
        except StoreUnavailable as error:
            print("refused", error.cause, flush=True)
            break
        print("append", sequence, flush=True)
    assert await stores.events.next_sequence(cover) == sequence
    assert len((await stores.events.load(cover)).data) > 100_000 * sequence
    try:
        await stores.events.append(cover, sequence, [page_of_size(sequence, 100)])
    except StoreUnavailable as error:
        print("refused", error.cause, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"rocksdb://{tmp_path}/store"


@pytest.fixture(params=FAILURES)
async def failing(
    url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stores]:
    """A store whose third group fails; two pages of alice are in it."""
    monkeypatch.setenv("ANGZARR_FAILPOINTS", f"{request.param}=error@3")
    stores = open_stores(url)
    monkeypatch.delenv("ANGZARR_FAILPOINTS")
    await stores.events.append(ALICE, 0, pages(0, 1))
    await stores.events.append(ALICE, 1, pages(1, 1))
    yield stores
    await stores.close()


@pytest.mark.spec("STO-30", "STO-3")
async def test_an_io_error_names_the_store_and_the_cause(failing: Stores, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        await failing.events.append(ALICE, 2, pages(2, 1))

    assert raised.value.path == f"{tmp_path}/store"
    assert "failpoint group." in raised.value.cause


@pytest.mark.spec("STO-30")
async def test_after_an_io_error_all_writes_are_refused_with_its_cause(failing: Stores) -> None:
    with pytest.raises(StoreUnavailable) as first:
        await failing.events.append(ALICE, 2, pages(2, 1))

    for write in (
        failing.events.append(cover_of("bob"), 0, pages(0, 1)),
        failing.positions.put_cursor("consumer", 1),
        failing.dead_letters.put(b"letter"),
    ):
        with pytest.raises(StoreUnavailable) as raised:
            await write
        assert first.value.cause in raised.value.cause


@pytest.mark.spec("STO-3", "STO-4")
async def test_after_an_io_error_reads_go_on_without_the_failed_append(failing: Stores) -> None:
    with pytest.raises(StoreUnavailable):
        await failing.events.append(ALICE, 2, pages(2, 1))

    assert await failing.events.next_sequence(ALICE) == 2
    assert (await failing.events.load(ALICE)).next_sequence == 2
    assert [entry.position for entry in await whole_log(failing.events)] == [1, 2]


@pytest.mark.spec("STO-2", "STO-3")
async def test_after_an_io_error_a_new_opening_serves_without_the_failed_append(
    failing: Stores, url: str
) -> None:
    with pytest.raises(StoreUnavailable):
        await failing.events.append(ALICE, 2, pages(2, 1))
    await failing.close()

    again = open_stores(url)

    assert await again.events.next_sequence(ALICE) == 2
    await again.events.append(ALICE, 2, pages(2, 1))
    assert len(await whole_log(again.events)) == 3
    await again.close()


@pytest.mark.spec("STO-2", "STO-3", "STO-30")
async def test_a_full_disk_refuses_writes_and_loses_nothing(url: str) -> None:
    """The limit on the size of files stands for a full disk: the write fails where it does then."""
    filled = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FILL, url],
        capture_output=True,
        text=True,
        check=False,
    )

    assert filled.returncode == 0, filled.stderr
    lines = filled.stdout.splitlines()
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == 2
    assert "too large" in refused[0].lower()
    stores = open_stores(url)
    appended_count = len(lines) - len(refused)
    assert appended_count > 0
    assert await stores.events.next_sequence(ALICE) >= appended_count
    assert len((await stores.events.load(ALICE)).data) > 100_000 * appended_count
    await stores.close()


@pytest.mark.spec("STO-30")
async def test_an_altered_record_is_corrupt_data(url: str, tmp_path: Path) -> None:
    stores = open_stores(url)
    for sequence in range(50):
        await stores.events.append(ALICE, sequence, [page_of_size(sequence, 10_000)])
    await stores.close()
    for path in (tmp_path / "store").rglob("*.sst"):
        data = bytearray(path.read_bytes())
        for offset in range(0, len(data) * 9 // 10, 512):
            data[offset] ^= 0xFF
        path.write_bytes(data)

    with pytest.raises(CorruptData):
        await read_all(url)


async def read_all(url: str) -> None:
    """Open the store and read alice's stream; what it raises."""
    stores = open_stores(url)
    try:
        await stores.events.load(ALICE)
    finally:
        await stores.close()


@pytest.mark.spec("STO-30")
async def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailable) as raised:
        open_stores(f"rocksdb://{tmp_path}/file/store")

    assert isinstance(raised.value, AngzarrError)
    assert raised.value.path == f"{tmp_path}/file/store"
