"""`angzarr backup` and `angzarr restore`, of a running server's store and of one at rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from angzarr import App
from angzarr.cli.loading import load_app
from angzarr.cli.payloads import Payloads
from angzarr.sync_bridge import LoopThread

DEPOSIT = Payloads().pack("Deposit", '{"amount_cents": 5}', "account")


@pytest.fixture
def served(bank: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server on the RocksDB store in tmp_path/data, with one event."""
    app = load_app(str(bank))
    app.configure({"storage.path": str(tmp_path / "data")})
    thread = LoopThread()
    thread.run(app.start())
    server = thread.run(app.serve(port=0))
    thread.run(app.domain("account").send("alice", DEPOSIT))
    yield server.addresses[0]
    thread.run(server.stop(0))
    thread.run(app.stop())
    thread.close()


def _event_count(path: Path) -> int:
    with App(store=str(path)) as app:
        return len(app.domain("account").book("alice"))


def test_a_backup_of_a_running_server_restores_to_its_events(
    run: Run, served: str, tmp_path: Path
) -> None:
    copied = run("backup", tmp_path / "copy", "--address", served)
    restored = run("restore", tmp_path / "copy", tmp_path / "new")

    assert (copied.exit_code, restored.exit_code) == (0, 0)
    assert "verified: 1 events in 1 streams" in restored.stdout
    assert _event_count(tmp_path / "new") == 1


def test_a_backup_into_a_directory_that_is_not_empty_is_refused(
    run: Run, served: str, bank: Path
) -> None:
    done = run("backup", bank.parent, "--address", served)

    assert done.exit_code == 2
    assert "new or empty directory" in done.stderr


def test_a_store_that_a_server_has_open_is_not_copied_behind_its_back(
    run: Run, served: str, tmp_path: Path
) -> None:
    done = run("backup", tmp_path / "copy", "--data", tmp_path / "data")

    assert done.exit_code == 4
    assert "has it open" in done.stderr


def test_a_store_at_rest_is_copied_directly(run: Run, tmp_path: Path) -> None:
    assert _event_count(tmp_path / "rest") == 0

    done = run("backup", tmp_path / "copy", "--data", tmp_path / "rest")

    assert done.exit_code == 0


def test_a_store_that_is_not_there_is_neither_copied_nor_made(run: Run, tmp_path: Path) -> None:
    done = run("backup", tmp_path / "copy", "--data", tmp_path / "gone")

    assert done.exit_code == 2
    assert not (tmp_path / "gone").exists()


def test_what_is_no_backup_is_not_restored(run: Run, tmp_path: Path) -> None:
    done = run("restore", tmp_path, tmp_path / "new")

    assert done.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_an_altered_backup_is_exit_code_5(run: Run, served: str, tmp_path: Path) -> None:
    run("backup", tmp_path / "copy", "--address", served)
    victim = max((tmp_path / "copy").rglob("*.sst"), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0xFF
    victim.write_bytes(data)

    done = run("restore", tmp_path / "copy", tmp_path / "new")

    assert done.exit_code == 5
    assert victim.name in done.stderr


def test_a_server_that_is_away_makes_no_backup(run: Run, tmp_path: Path) -> None:
    done = run("backup", tmp_path / "copy", "--address", "127.0.0.1:1")

    assert done.exit_code == 4


def test_doctor_verifies_a_whole_store(run: Run, served: str, tmp_path: Path) -> None:
    run("backup", tmp_path / "copy", "--address", served)
    run("restore", tmp_path / "copy", tmp_path / "new")

    done = run("doctor", "--verify", "--data", tmp_path / "new")

    assert done.exit_code == 0
    assert "1 events in 1 streams, all sound" in done.stdout


def test_doctor_does_not_verify_a_store_in_use(run: Run, served: str, tmp_path: Path) -> None:
    done = run("doctor", "--verify", "--data", tmp_path / "data", "--address", served)

    assert done.exit_code == 4
