"""`angzarr doctor`: components, settings, disk and store."""

from pathlib import Path

import pytest
from tests.cli.conftest import Run

from angzarr.cli.doctor import flush_us


@pytest.mark.spec("DEP-15")
def test_each_component_is_shown_with_its_endpoint_and_who_set_it(
    run: Run, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR_AGGREGATE_ORDER", "h:1")

    done = run("doctor", bank)

    rows = {tuple(line.split()) for line in done.stdout.splitlines()}
    (account,) = (row for row in rows if row[:1] == ("aggregate:account",))
    assert account[1:3] == ("local", "default")
    assert account[3].endswith("bank.Account")
    assert (
        "aggregate:order",
        "tcp://h:1",
        "coordinator",
        "ANGZARR_AGGREGATE_ORDER",
    ) in rows


@pytest.mark.spec("OPS-8")
def test_every_setting_is_shown_with_its_origin(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR__LIMITS__WRITER_QUEUE", "77")

    done = run("doctor", "--data", tmp_path / "there")

    rows = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert ("limits.writer_queue", "77", "ANGZARR__LIMITS__WRITER_QUEUE") in rows
    assert ("server.port", "1310", "default") in rows
    assert ("storage.path", str(tmp_path / "there"), "--data") in rows


def test_the_disks_flush_time_is_measured_where_the_store_is(tmp_path: Path) -> None:
    low, middle, high = flush_us(tmp_path, rounds=5)

    assert 0 < low <= middle <= high
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_there_is_not_made(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--data", tmp_path / "new")

    assert done.exit_code == 0
    assert "not there" in done.stdout
    assert not (tmp_path / "new").exists()


def test_a_store_in_use_is_described_by_its_server(
    run: Run, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR__STORAGE__TYPE", "rocksdict")

    done = run("doctor", "--data", tmp_path / "data", "--address", address)

    assert done.exit_code == 0
    assert f"at {address}" in done.stdout


@pytest.mark.spec("DEP-11")
def test_a_store_elsewhere_is_described_as_its_server_says(
    run: Run, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR__STORAGE__TYPE", "grpc")
    monkeypatch.setenv("ANGZARR__STORAGE__ADDRESS", address)

    done = run("doctor")

    rows = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert done.exit_code == 0
    assert ("url", f"grpc://{address}") in rows
    assert any(row[0:1] == ("server",) and "rocksdict://" in row[1] for row in rows)


@pytest.mark.spec("DEP-11")
def test_a_store_elsewhere_that_is_away_is_said_to_be_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR__STORAGE__TYPE", "grpc")
    monkeypatch.setenv("ANGZARR__STORAGE__ADDRESS", "127.0.0.1:9")

    done = run("doctor")

    assert done.exit_code == 0
    assert "store grpc://127.0.0.1:9 is unavailable" in done.stdout


def test_a_store_elsewhere_is_not_verified_from_here(
    run: Run, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR__STORAGE__TYPE", "grpc")
    monkeypatch.setenv("ANGZARR__STORAGE__ADDRESS", address)

    done = run("doctor", "--verify")

    assert done.exit_code == 2
    assert "--verify is for rocksdb stores" in done.stderr


def test_a_wrong_setting_is_exit_code_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGZARR__LIMITS__WRITER_QUEU", "77")

    done = run("doctor")

    assert done.exit_code == 2
    assert "did you mean limits.writer_queue?" in done.stderr
