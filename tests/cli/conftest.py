"""A module with an aggregate, a server of it, and the command line in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from angzarr.cli.loading import load_app
from angzarr.cli.main import app as angzarr
from angzarr.sync_bridge import LoopThread

BANK = """
from dataclasses import dataclass

from angzarr import Aggregate, applies, command, reject


@dataclass
class Deposit:
    amount_cents: int


@dataclass
class Deposited:
    amount_cents: int


class Account(Aggregate, domain="account"):
    balance_cents: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        if cmd.amount_cents <= 0:
            reject("deposit a positive amount")
        return Deposited(cmd.amount_cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents
"""

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Modules loaded by path, and levels of the log, are forgotten again; the working directory
    is the test's own."""
    before = set(sys.modules)
    logger = logging.getLogger("angzarr")
    level = logger.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    logger.setLevel(level)
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "bank.py"
    path.write_text(BANK)
    return path


@pytest.fixture
def run() -> Run:
    runner = CliRunner()

    def invoke(*arguments: object, text: str | None = None) -> Result:
        return runner.invoke(angzarr, [str(a) for a in arguments], input=text)

    return invoke


@pytest.fixture
def address(bank: Path, tmp_path: Path) -> Iterator[str]:
    """Where the bank is served, on a store in tmp_path/data."""
    app = load_app(str(bank))
    app.configure({"storage.type": "rocksdict", "storage.path": str(tmp_path / "data")})
    thread = LoopThread()
    thread.run(app.start())
    server = thread.run(app.serve(port=0))
    yield server.addresses[0]
    thread.run(server.stop(0))
    thread.run(app.stop())
    thread.close()
