"""`angzarr serve` as a process: ready line, signals, and what stops the start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from angzarr.cli.serve import serve as serve_command
from angzarr.client import connect_sync

START_S = 20.0


class Serving:
    """A server process; `address` once it is ready."""

    def __init__(self, module: Path, *arguments: object) -> None:
        command = [sys.executable, "-m", "angzarr.cli", "serve", str(module), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout
        self.ready = self.process.stdout.readline()
        self.address = self.ready.removeprefix("listening on ").strip()

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; the exit code and what was on stderr."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=START_S)
        return self.process.returncode, err


Start = Callable[..., Serving]


@pytest.fixture
def start(bank: Path, tmp_path: Path) -> Iterator[Start]:
    servers: list[Serving] = []

    def begin(*arguments: object) -> Serving:
        options = arguments or ("--store", f"rocksdict://{tmp_path}/data")
        servers.append(Serving(bank, *options))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def test_a_server_says_where_it_listens_when_it_is_ready(start: Start) -> None:
    assert start().ready.startswith("listening on 127.0.0.1:")


@pytest.mark.spec("OPS-3")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_exits_with_0(start: Start, number: int) -> None:
    assert start().end(number) == (0, "")


@pytest.mark.spec("OPS-3")
def test_what_was_acknowledged_is_there_after_a_kill(start: Start, run: Run) -> None:
    server = start()
    deposit = ("account", "alice", "Deposit", '{"amount_cents": 5}')
    run("send", *deposit, "--address", server.address)
    server.end(signal.SIGKILL)

    again = start()

    with connect_sync(again.address) as client:
        found = [event.payload for event in client.domain("account").events("alice")]
    assert found == [{"amount_cents": 5}]


@pytest.mark.spec("OPS-14")
def test_a_store_in_memory_is_announced_once(start: Start) -> None:
    _, err = start("--store", "memory://").end(signal.SIGTERM)

    assert err.count("is not durable") == 1


def test_a_second_server_on_a_store_says_who_has_it(
    start: Start, run: Run, bank: Path, tmp_path: Path
) -> None:
    first = start()

    done = run("serve", bank, "--port", 0, "--store", f"rocksdict://{tmp_path}/data")

    assert done.exit_code == 4
    assert "has it open" in done.stderr
    assert first.process.poll() is None


@pytest.mark.spec("DEP-10", "DEP-11")
def test_a_second_server_may_use_the_store_of_the_first(start: Start, run: Run) -> None:
    first = start()
    second = start("--store", f"grpc://{first.address}")
    deposit = ("account", "alice", "Deposit", '{"amount_cents": 5}')

    done = run("send", *deposit, "--address", second.address)

    assert done.exit_code == 0
    with connect_sync(first.address) as client:
        found = [event.payload for event in client.domain("account").events("alice")]
    assert found == [{"amount_cents": 5}]
    assert second.end(signal.SIGTERM) == (0, "")
    assert first.end(signal.SIGTERM) == (0, "")


def test_a_port_that_is_taken_is_exit_code_2(start: Start, run: Run, bank: Path) -> None:
    port = start().address.rpartition(":")[2]

    done = run("serve", bank, "--port", port, "--store", "memory://")

    assert done.exit_code == 2
    assert f"127.0.0.1:{port}" in done.stderr


def test_a_server_listens_on_a_unix_socket_too(start: Start, tmp_path: Path) -> None:
    start("--store", "memory://", "--uds", tmp_path / "s")

    with connect_sync(f"unix:{tmp_path}/s") as client:
        assert len(client.domain("account").book("alice")) == 0


@pytest.mark.spec("OPS-8")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "gone.yaml"), "cannot read gone.yaml"),
        (("--config", "bad.yaml"), "unknown key server.prot"),
        (("--port", "70000"), "server.port = 70000 (--port): must be an integer from 0 to 65535"),
        (("--store", "files://x"), "storage.type = 'files' (--store)"),
        (("--select", "aggregate:x"), "known: aggregate:account"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_exit_code_2(
    run: Run, bank: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "bad.yaml").write_text("server: {prot: 5}")

    done = run("serve", bank, *arguments)

    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.spec("OPS-9")
def test_a_setting_of_a_part_that_is_not_there_stops_the_start(
    run: Run, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANGZARR__MESSAGING__TYPE", "kafka")

    done = run("serve", bank)

    assert done.exit_code == 2
    assert "message brokers are not in this release" in done.stderr


def test_every_command_says_what_its_exit_codes_mean(run: Run) -> None:
    for name in ("serve", "run", "send", "events", "doctor", "backup", "restore"):
        done = run(name, "--help")

        assert "3 refused by the domain" in " ".join(done.stdout.split()), name


def test_the_command_is_documented() -> None:
    assert serve_command.__doc__


@pytest.mark.spec("OPS-3")
def test_a_server_that_waits_for_a_store_elsewhere_can_be_told_to_stop(bank: Path) -> None:
    command = [sys.executable, "-m", "angzarr.cli", "serve", str(bank), "--port", "0"]
    with subprocess.Popen(
        [*command, "--store", "grpc://127.0.0.1:9"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        assert "waiting for it" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)

        assert process.wait(START_S) == 0
