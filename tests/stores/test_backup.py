"""Backups are consistent, checked, and restored whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from angzarr.errors import CorruptData, InvalidInput, StoreClosed, StoreLocked, StoreUnavailable
from angzarr.ports.stores import Stores
from angzarr.stores import backup, open_stores
from angzarr.stores.backup import Verified
from angzarr.testing.contracts.base import given_pages, whole_log
from angzarr.testing.pages import cover_of, pages

ALICE = cover_of("alice")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"rocksdb://{tmp_path}/store"


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    """An open store with 30 pages of alice."""
    stores = open_stores(url)
    await given_pages(stores.events, ALICE, 30)
    yield stores
    await stores.close()


@pytest.fixture
async def backed_up(stores: Stores, tmp_path: Path) -> Path:
    """A backup of the store."""
    await stores.backup(tmp_path / "backup")
    return tmp_path / "backup"


def data_file(directory: Path) -> Path:
    """The largest file of a backup."""
    return max(directory.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())


@pytest.mark.spec("STO-2")
async def test_a_restored_store_is_the_one_that_was_backed_up(
    stores: Stores, backed_up: Path, tmp_path: Path
) -> None:
    verified = backup.restore(backed_up, tmp_path / "restored")

    restored = open_stores(f"rocksdb://{tmp_path}/restored")
    assert await restored.events.load(ALICE) == await stores.events.load(ALICE)
    assert await whole_log(restored.events) == await whole_log(stores.events)
    assert verified == Verified(stream_count=1, page_count=30, position=30)
    await restored.close()


@pytest.mark.spec("STO-2")
async def test_a_restored_store_takes_appends(backed_up: Path, tmp_path: Path) -> None:
    backup.restore(backed_up, tmp_path / "restored")

    restored = open_stores(f"rocksdb://{tmp_path}/restored")

    await restored.events.append(ALICE, 30, pages(30, 1))
    await restored.close()


@pytest.mark.spec("STO-3", "STO-4")
async def test_a_backup_while_the_store_serves_is_a_prefix_of_its_log(
    stores: Stores, tmp_path: Path
) -> None:
    async def serve() -> None:
        for sequence in range(300):
            await stores.events.append(cover_of("bob"), sequence, pages(sequence, 1))

    serving = asyncio.create_task(serve())
    await stores.backup(tmp_path / "backup")
    await serving

    verified = backup.restore(tmp_path / "backup", tmp_path / "restored")
    restored = open_stores(f"rocksdb://{tmp_path}/restored")
    assert await whole_log(restored.events) == await stores.events.tail(
        0, limit=verified.position - 29
    )
    await restored.close()


async def test_progress_ends_with_all_bytes(stores: Stores, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    await stores.backup(tmp_path / "backup", lambda done, whole: seen.append((done, whole)))

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


async def test_the_progress_of_restoring_ends_with_all_bytes(
    backed_up: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    backup.restore(backed_up, tmp_path / "restored", lambda done, whole: seen.append((done, whole)))

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


async def test_a_backup_leaves_no_checkpoint(
    stores: Stores, backed_up: Path, tmp_path: Path
) -> None:
    assert not list((tmp_path / "store").glob("*.checkpoint*"))


async def test_the_leftover_of_a_backup_that_was_cut_off_is_removed_at_opening(
    url: str, tmp_path: Path
) -> None:
    leftover = tmp_path / "store" / "1-1.checkpoint"
    leftover.mkdir(parents=True)
    (leftover / "file").write_bytes(b"data")

    stores = open_stores(url)

    assert not leftover.exists()
    await stores.close()


async def test_a_target_that_is_not_empty_is_refused(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")

    with pytest.raises(InvalidInput, match="empty"):
        await stores.backup(tmp_path)

    assert (tmp_path / "mine").read_bytes() == b"mine"


async def test_a_target_that_is_a_file_is_refused(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")

    with pytest.raises(InvalidInput, match="target"):
        await stores.backup(tmp_path / "mine")


async def test_restoring_into_a_directory_that_is_not_empty_is_refused(
    backed_up: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        backup.restore(backed_up, tmp_path / "store")


async def test_an_altered_file_is_named_and_nothing_is_restored(
    backed_up: Path, tmp_path: Path
) -> None:
    altered = data_file(backed_up)
    altered.write_bytes(bytes(byte ^ 1 for byte in altered.read_bytes()))

    with pytest.raises(CorruptData) as raised:
        backup.restore(backed_up, tmp_path / "restored")

    assert raised.value.where == str(altered)
    assert not list((tmp_path / "restored").iterdir())


async def test_a_missing_file_is_named(backed_up: Path, tmp_path: Path) -> None:
    missing = data_file(backed_up)
    missing.unlink()

    with pytest.raises(CorruptData) as raised:
        backup.restore(backed_up, tmp_path / "restored")

    assert raised.value.where == str(missing)


async def test_an_altered_manifest_is_corrupt(backed_up: Path, tmp_path: Path) -> None:
    (backed_up / "manifest.json").write_bytes(b"{")

    with pytest.raises(CorruptData, match=r"manifest\.json"):
        backup.restore(backed_up, tmp_path / "restored")


async def test_a_manifest_that_names_files_elsewhere_is_corrupt(
    backed_up: Path, tmp_path: Path
) -> None:
    manifest = backed_up / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "', '"name": "../', 1))

    with pytest.raises(CorruptData, match=r"\.\./"):
        backup.restore(backed_up, tmp_path / "restored")


async def test_a_directory_without_manifest_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"manifest\.json"):
        backup.restore(tmp_path, tmp_path / "restored")


async def test_a_failing_checkpoint_fails_the_backup_and_the_store_serves_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR_FAILPOINTS", "checkpoint=error")
    stores = open_stores(url)

    with pytest.raises(StoreUnavailable):
        await stores.backup(tmp_path / "backup")

    assert not list((tmp_path / "backup").iterdir())
    await stores.events.append(ALICE, 0, pages(0, 1))
    await stores.close()


async def test_a_closed_store_is_not_backed_up(stores: Stores, tmp_path: Path) -> None:
    await stores.close()

    with pytest.raises(StoreClosed):
        await stores.backup(tmp_path / "backup")


async def test_verify_counts_what_it_read(url: str, stores: Stores, tmp_path: Path) -> None:
    await given_pages(stores.events, cover_of("bob"), 5)
    await stores.close()

    assert backup.verify(tmp_path / "store") == Verified(2, 35, 35)


async def test_a_store_in_use_is_not_verified(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(StoreLocked):
        backup.verify(tmp_path / "store")


def test_verifying_where_no_store_is_makes_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="store"):
        backup.verify(tmp_path / "nothing")

    assert not (tmp_path / "nothing").exists()
