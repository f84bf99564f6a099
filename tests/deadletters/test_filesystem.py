"""Dead letters in files: the queue's whole contract, and what is said of files alone."""

from __future__ import annotations

import base64
import json
import shutil
import stat
from pathlib import Path

import pytest

from angzarr import wire
from angzarr.deadletters.filesystem import FilesystemDeadLetters
from angzarr.errors import CorruptData, StoreUnavailable
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts import DeadLetterContract

LETTER = wire.AngzarrDeadLetter(
    cover=wire.Cover(domain="account", root=wire.UUID(value=bytes(16)), correlation_id="c-1"),
    rejection_reason="poison",
    source_component="saga:shipping",
    event_processing_failed=wire.EventProcessingFailedDetails(error="poison"),
)


class TestFilesystem(DeadLetterContract):
    """Only the store beside it, which the suite opens, is in memory."""

    @pytest.fixture
    def place(self) -> str:
        return "memory://"

    @pytest.fixture
    def dead_letters(self, tmp_path: Path, clock: ManualClock) -> DeadLetterQueue:
        return FilesystemDeadLetters(tmp_path / "letters", clock)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "letters"


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.spec("DLQ-6")
async def test_each_letter_is_a_json_file_that_says_what_it_is(
    folder: Path, clock: ManualClock
) -> None:
    letter_id = await FilesystemDeadLetters(folder, clock).put(LETTER.SerializeToString())

    [path] = files(folder)
    found = json.loads(path.read_text())
    assert path.name == f"{letter_id}.json"
    assert base64.b64decode(found["letter"]) == LETTER.SerializeToString()
    assert found["summary"] == {
        "topic": "angzarr.dlq.account",
        "domain": "account",
        "root": "0" * 32,
        "correlation_id": "c-1",
        "rejection_type": "event_processing_failed",
        "rejection_reason": "poison",
        "source_component": "saga:shipping",
    }


@pytest.mark.spec("DLQ-6")
async def test_bytes_that_are_no_letter_are_kept_all_the_same(
    folder: Path, clock: ManualClock
) -> None:
    queue = FilesystemDeadLetters(folder, clock)

    letter_id = await queue.put(b"\xff\xff")

    found = await queue.get(letter_id)
    assert found is not None
    assert found.letter == b"\xff\xff"


@pytest.mark.spec("DLQ-6")
async def test_beyond_max_files_the_oldest_goes_and_the_log_tells(
    folder: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    queue = FilesystemDeadLetters(folder, clock, max_files=2)

    ids = [await queue.put(LETTER.SerializeToString()) for _ in range(3)]

    assert [letter.id for letter in await queue.list()] == ids[:0:-1]
    assert f"dead letter {ids[0]} is gone: max_files is 2" in caplog.text


@pytest.mark.spec("DLQ-6")
async def test_without_max_files_all_are_kept(folder: Path, clock: ManualClock) -> None:
    queue = FilesystemDeadLetters(folder, clock, max_files=0)

    for _ in range(60):
        await queue.put(LETTER.SerializeToString())

    assert len(files(folder)) == 60


@pytest.mark.spec("DLQ-6", "STO-24")
async def test_letters_and_counts_survive_a_restart_and_ids_go_on(
    folder: Path, clock: ManualClock
) -> None:
    first = FilesystemDeadLetters(folder, clock)
    letter_id = await first.put(LETTER.SerializeToString())
    await first.count_replay(letter_id)
    clock.set(clock.now_ns() - 10**9)

    again = FilesystemDeadLetters(folder, clock)

    [found] = await again.list()
    assert (found.id, found.replay_count) == (letter_id, 1)
    assert await again.put(b"") > letter_id


async def test_two_processes_share_a_directory(folder: Path, clock: ManualClock) -> None:
    """The clock stands, so both have the same time."""
    one, other = FilesystemDeadLetters(folder, clock), FilesystemDeadLetters(folder, clock)

    ids = {await queue.put(b"") for queue in (one, other)}

    assert len(ids) == 2
    assert {letter.id for letter in await one.list()} == ids
    assert {letter.id for letter in await other.list()} == ids


async def test_files_are_their_owners_alone(folder: Path, clock: ManualClock) -> None:
    await FilesystemDeadLetters(folder, clock).put(b"")

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *files(folder))]
    assert modes == [0o700, 0o600]


async def test_other_files_in_the_directory_are_left_alone(
    folder: Path, clock: ManualClock
) -> None:
    queue = FilesystemDeadLetters(folder, clock, max_files=1)
    (folder / "README.json").write_text("mine")

    await queue.put(b"")
    await queue.put(b"")

    assert (folder / "README.json").read_text() == "mine"
    assert len(await queue.list()) == 1


@pytest.mark.spec("DLQ-5", "STO-30")
async def test_a_directory_that_is_gone_is_unavailable(folder: Path, clock: ManualClock) -> None:
    queue = FilesystemDeadLetters(folder, clock)
    shutil.rmtree(folder)

    with pytest.raises(StoreUnavailable, match=f"of dead letters in {folder}"):
        await queue.put(b"")
    with pytest.raises(StoreUnavailable):
        await queue.list()


@pytest.mark.spec("DLQ-5")
def test_a_directory_that_cant_be_made_stops_the_start(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match="Not a directory"):
        FilesystemDeadLetters(tmp_path / "file" / "letters", clock)


@pytest.mark.spec("DLQ-6")
async def test_a_write_that_fails_leaves_nothing(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = FilesystemDeadLetters(folder, clock)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        await queue.put(b"")

    assert files(folder) == []


@pytest.mark.spec("STO-24")
async def test_an_altered_file_is_corrupt_and_named(folder: Path, clock: ManualClock) -> None:
    queue = FilesystemDeadLetters(folder, clock)
    letter_id = await queue.put(b"")
    [path] = files(folder)
    path.write_text("{}")

    with pytest.raises(CorruptData, match=path.name):
        await queue.get(letter_id)
    assert await queue.delete(letter_id)
