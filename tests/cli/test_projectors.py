"""`angzarr projectors`: read models listed, built anew, compared and switched (PROJ-9, PROJ-17)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import BANK, Run

from angzarr import App
from angzarr.cli.loading import load_app
from angzarr.cli.payloads import Payloads
from angzarr.sync_bridge import LoopThread

STATEMENT = (
    BANK
    + """

from angzarr import Projector, Sqlite, projects


class Statement(
    Projector,
    source=Account,
    read_store=Sqlite("statement.sqlite", "CREATE TABLE IF NOT EXISTS line (cents INTEGER)"),
):
    @projects
    def deposited(self, event: Deposited, db) -> None:
        if event.amount_cents == 13:
            raise ValueError("13 brings bad luck")
        db.execute("INSERT INTO line VALUES (?)", (event.amount_cents,))


class Log(Projector, source="account", editions="*"):
    @projects
    def deposited(self, event: Deposited) -> None:
        with open("log.txt", "a") as log:
            log.write(f"{event.amount_cents}\\n")

    def reset(self) -> None:
        open("log.txt", "w").close()
"""
)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "statement_app.py"
    path.write_text(STATEMENT)
    return path


@pytest.fixture
def filled(module: Path, tmp_path: Path) -> Path:
    """The module, on a store in tmp_path/data with three deposits."""
    deposit(1, 2, 3)
    return module


def deposit(*amounts: int) -> None:
    definitions = load_app("statement_app.py").definitions
    with App(*definitions, store="rocksdict://data", select="aggregate:*") as app:
        for amount in amounts:
            command = Payloads().pack("Deposit", json.dumps({"amount_cents": amount}), "account")
            app.domain("account").send("alice", command)


@pytest.fixture(autouse=True)
def _config(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[storage]\ntype = "rocksdict"\n')


def lines(path: str = "statement.sqlite") -> list[int]:
    with sqlite3.connect(path) as db:
        found = [row[0] for row in db.execute("SELECT cents FROM line ORDER BY rowid")]
    db.close()
    return found


def serve_once(module: Path) -> None:
    """What a server does: feed the projector, and stop."""

    async def feed() -> None:
        app = load_app(str(module))
        app.configure({}, select="projector:statement")
        async with app:
            await app.settled()

    asyncio.run(feed())


def test_the_list_shows_what_there_is(run: Run, filled: Path) -> None:
    serve_once(filled)

    done = run("projectors", "list", filled)

    assert done.exit_code == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:2] == ["projector", "sources"]
    assert rows[1] == ["statement", "account", "main", "statement.sqlite", "3", "0"]
    assert rows[2] == ["log", "account", "*", "its", "own", "0", "3"]


def test_the_list_as_json(run: Run, filled: Path) -> None:
    done = run("projectors", "list", filled, "--json")

    first = json.loads(done.stdout.splitlines()[0])
    assert first == {
        "projector": "statement",
        "sources": "account",
        "editions": "main",
        "read_model": "statement.sqlite",
        "position": 0,
        "behind": 3,
    }


@pytest.mark.spec("PROJ-17")
def test_a_read_model_is_built_beside_compared_and_switched(run: Run, filled: Path) -> None:
    serve_once(filled)
    with sqlite3.connect("statement.sqlite") as db:
        db.execute("UPDATE line SET cents = 20 WHERE cents = 2")
    db.close()

    built = run("projectors", "replay", filled, "statement")
    before = lines()
    compared = run("projectors", "compare", filled, "statement")
    switched = run("projectors", "switch", filled, "statement")

    assert built.exit_code == 0, built.stderr
    assert "3 log entries in statement.sqlite.new" in built.stdout
    assert before == [1, 20, 3]
    assert compared.exit_code == 1
    assert "line, only old: (20,)" in compared.stdout
    assert "line, only new: (2,)" in compared.stdout
    assert switched.exit_code == 0, switched.stderr
    assert lines() == [1, 2, 3]
    assert not Path("statement.sqlite.new").exists()


@pytest.mark.spec("PROJ-17")
def test_equal_read_models_are_told_by_the_exit_code(run: Run, filled: Path) -> None:
    serve_once(filled)
    run("projectors", "replay", filled, "statement")

    done = run("projectors", "compare", filled, "statement", "--json")

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "is_equal": True,
        "streams_ahead": 0,
        "tables": [
            {
                "table": "line",
                "old_count": 3,
                "new_count": 3,
                "old_only": 0,
                "new_only": 0,
                "old_columns": [],
                "new_columns": [],
                "samples": [],
            }
        ],
    }


@pytest.mark.spec("PROJ-17")
def test_a_replay_can_leave_out_what_the_projector_fails_on(run: Run, filled: Path) -> None:
    deposit(13, 4)

    stopped = run("projectors", "replay", filled, "statement")
    passed = run("projectors", "replay", filled, "statement", "--pass-failures")

    assert stopped.exit_code == 1
    assert "13 brings bad luck" in stopped.stderr
    assert passed.exit_code == 0, passed.stderr
    assert "left out at log position 4: projector:statement failed" in passed.stderr
    assert lines("statement.sqlite.new") == [1, 2, 3, 4]


@pytest.mark.spec("PROJ-9")
@pytest.mark.parametrize("name", ["statement", "log"])
def test_a_replay_in_place_begins_anew(run: Run, filled: Path, name: str) -> None:
    run("projectors", "replay", filled, name, "--in-place")

    done = run("projectors", "replay", filled, name, "--in-place")

    assert done.exit_code == 0, done.stderr
    assert f"{name} is replayed" in done.stdout
    found = (
        lines() if name == "statement" else [int(n) for n in Path("log.txt").read_text().split()]
    )
    assert found == [1, 2, 3]
    listed = run("projectors", "list", filled, "--json").stdout.splitlines()
    assert {"statement": 0, "log": 1}[name] in [
        index for index, row in enumerate(listed) if json.loads(row)["behind"] == 0
    ]


@pytest.mark.spec("PROJ-17")
@pytest.mark.parametrize("command", ["replay", "compare", "switch"])
def test_what_keeps_its_rows_itself_is_not_built_beside(
    run: Run, filled: Path, command: str
) -> None:
    done = run("projectors", command, filled, "log")

    assert done.exit_code == 2
    assert "replay it in place" in done.stderr


@pytest.mark.parametrize("command", ["compare", "switch"])
def test_without_a_new_one_there_is_nothing_to_do(run: Run, filled: Path, command: str) -> None:
    serve_once(filled)

    done = run("projectors", command, filled, "statement")

    assert done.exit_code == 2
    assert "there is no statement.sqlite.new; build it with: angzarr projectors" in done.stderr


def test_an_unknown_projector_is_told_with_those_there_are(run: Run, filled: Path) -> None:
    done = run("projectors", "replay", filled, "statements")

    assert done.exit_code == 2
    assert "there is no projector statements; there are: statement, log" in done.stderr


def test_failures_can_not_be_left_out_in_place(run: Run, filled: Path) -> None:
    done = run("projectors", "replay", filled, "statement", "--in-place", "--pass-failures")

    assert done.exit_code == 2
    assert "--pass-failures" in done.stderr


def test_a_store_that_is_not_there_is_not_made(run: Run, module: Path) -> None:
    done = run("projectors", "list", module, "--data", "nowhere")

    assert done.exit_code == 2
    assert "there is no store at nowhere" in done.stderr
    assert not Path("nowhere").exists()


def test_a_store_that_a_server_has_open_is_told(run: Run, filled: Path) -> None:
    with App(*load_app(str(filled)).definitions, store="rocksdict://data"):
        done = run("projectors", "list", filled)

    assert done.exit_code == 4
    assert "has it open" in done.stderr


def test_a_place_in_the_configuration_wins(run: Run, filled: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[storage]\ntype = "rocksdict"\n'
        '[projection.projectors.statement]\nread_store = "sqlite://elsewhere/rows.sqlite"\n'
    )

    done = run("projectors", "replay", filled, "statement", "--in-place")

    assert done.exit_code == 0, done.stderr
    assert lines("elsewhere/rows.sqlite") == [1, 2, 3]
    assert not Path("statement.sqlite").exists()


@pytest.fixture
def served(module: Path, tmp_path: Path) -> Iterator[str]:
    """Where the module is served with its projectors, on a store with three deposits."""
    deposit(1, 2, 3)
    app = load_app(str(module))
    app.configure({"storage.path": str(tmp_path / "data")})
    thread = LoopThread()
    thread.run(app.start())
    thread.run(app.settled())
    server = thread.run(app.serve(port=0))
    yield server.addresses[0]
    thread.run(server.stop(0))
    thread.run(app.stop())
    thread.close()


@pytest.mark.spec("PROJ-17")
def test_a_read_model_is_built_and_switched_while_its_server_runs(
    run: Run, served: str, module: Path
) -> None:
    with contextlib.closing(sqlite3.connect("statement.sqlite")) as db, db:
        db.execute("DELETE FROM line WHERE cents = 2")
    store = ("--store", f"grpc://{served}")

    assert run("projectors", "replay", module, "statement", *store).exit_code == 0
    compared = run("projectors", "compare", module, "statement", *store)
    assert (compared.exit_code, lines()) == (1, [1, 3])
    assert run("projectors", "switch", module, "statement", *store).exit_code == 0

    assert lines() == [1, 2, 3]


def test_a_store_that_a_server_has_open_is_reached_by_its_server(
    run: Run, served: str, module: Path, tmp_path: Path
) -> None:
    done = run("projectors", "list", module, "--data", tmp_path / "data")

    assert done.exit_code == 4
    assert "--store grpc://HOST:PORT" in done.stderr


@pytest.mark.spec("PROJ-9")
def test_a_server_replays_its_projector_in_place(run: Run, served: str, module: Path) -> None:
    Path("log.txt").write_text("999\n")

    done = run("projectors", "replay", module, "log", "--in-place", "--address", served)

    assert done.exit_code == 0, done.stderr
    assert Path("log.txt").read_text().split() == ["1", "2", "3"]


def test_an_address_is_for_a_replay_in_place(run: Run, module: Path) -> None:
    done = run("projectors", "replay", module, "log", "--address", "127.0.0.1:9")

    assert done.exit_code == 2
    assert "--in-place" in done.stderr


def test_doctor_shows_how_far_the_consumers_of_a_server_are(
    run: Run, served: str, tmp_path: Path
) -> None:
    done = run("doctor", "--data", tmp_path / "data", "--address", served)

    assert done.exit_code == 0
    assert "projector-statement" in done.stdout
    assert "at 3, 0 behind" in done.stdout
