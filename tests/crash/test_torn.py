"""The end of the write-ahead log after a crash: what was torn goes, damage does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Acknowledged, Batch, Child, check

from angzarr.errors import CorruptData
from angzarr.stores import open_stores

pytestmark = pytest.mark.crash


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, Acknowledged]:
    """A store whose owner was killed; it had one client, so each append is a record of its own."""
    child, acknowledged = Child(), Acknowledged()
    child.start(tmp_path / "store", 0, client_count=1)
    for line in child.read_lines(lambda line_count: line_count >= 60) + child.kill():
        acknowledged.add(line)
    return tmp_path / "store", acknowledged


def log_file(store: Path) -> Path:
    """The newest segment of the write-ahead log."""
    return max((store / "wal").glob("*.wal"))


def spoil(path: Path, share: float, data: bytes) -> None:
    """Overwrite the log at `share` of what is written of it."""
    written = path.read_bytes().rstrip(b"\0")
    at = int((len(written) - len(data)) * share)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.spec("STO-47", "STO-3")
@pytest.mark.parametrize("lost", [bytes(1), bytes(12), b"\xff" * 40])
async def test_a_torn_last_write_is_repaired(
    killed: tuple[Path, Acknowledged], lost: bytes
) -> None:
    store, acknowledged = killed
    spoil(log_file(store), 1.0, lost)

    kept = Acknowledged(batches=without_last_record(acknowledged.batches))
    await check(store, kept)


def without_last_record(batches: list[Batch]) -> list[Batch]:
    """All but the newest: the torn record may be that of any later write, or its own."""
    return batches[:-1]


@pytest.mark.spec("STO-47", "STO-2")
async def test_damage_before_durable_records_is_not_taken_for_a_torn_write(
    killed: tuple[Path, Acknowledged],
) -> None:
    store, _ = killed
    spoil(log_file(store), 0.5, b"\xff" * 40)

    with pytest.raises(CorruptData) as raised:
        open_stores(f"rocksdb://{store}")

    assert log_file(store).name in raised.value.where
