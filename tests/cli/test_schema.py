"""`angzarr schema check` (UPC-6)."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import BANK, Run

RENAMED = BANK.replace("Deposited", "PaidIn")
LIFTED = (
    RENAMED.replace("import Aggregate,", "import Aggregate, Upcaster,").replace(
        "command, reject", "command, reject, upcasts"
    )
    + """

@dataclass
class Deposited:
    amount_cents: int


class History(Upcaster, domain="account"):
    @upcasts
    def paid_in(self, old: Deposited) -> PaidIn:
        return PaidIn(old.amount_cents)
"""
)


@pytest.fixture
def check(run: Run, address: str) -> Run:
    """The command on a server with three deposits of alice and one on a branch."""
    for amount in (1, 2, 3):
        payload = json.dumps({"amount_cents": amount})
        run("send", "account", "alice", "Deposit", payload, "--address", address)
    return lambda *arguments: run("schema", "check", *arguments, "--address", address)


def _module(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "changed.py"
    path.write_text(text)
    return path


@pytest.mark.spec("UPC-6")
def test_what_is_read_is_listed_with_its_readers(check: Run, bank: Path) -> None:
    done = check(bank)

    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert head.split() == ["domain", "type", "events", "positions", "read", "by"]
    assert row.split() == ["account", "account.Deposited", "3", "1-3", "aggregate:account"]


@pytest.mark.spec("UPC-6")
def test_what_nobody_reads_is_exit_code_1_and_told(check: Run, tmp_path: Path) -> None:
    done = check(_module(tmp_path, RENAMED))

    assert done.exit_code == 1
    assert "NOBODY; the first is account/" in done.stdout
    assert done.stderr == "angzarr: 1 of 1 types can't be read: account: account.Deposited\n"


@pytest.mark.spec("UPC-6")
def test_an_upcaster_makes_it_read_again(check: Run, tmp_path: Path) -> None:
    done = check(_module(tmp_path, LIFTED))

    assert done.exit_code == 0, done.output
    assert "account.Deposited → account.PaidIn" in done.stdout


@pytest.mark.spec("UPC-6")
def test_a_payload_that_no_longer_parses_is_told(check: Run, tmp_path: Path) -> None:
    changed = BANK.replace(
        "class Deposited:\n    amount_cents: int", "class Deposited:\n    amount_cents: str"
    )

    done = check(_module(tmp_path, changed), "--all")

    assert done.exit_code == 1
    assert "FAILS (3 of 3 tried)" in done.stdout


@pytest.mark.spec("UPC-6")
def test_json_is_one_object_per_type(check: Run, bank: Path) -> None:
    [row] = [json.loads(line) for line in check(bank, "--json", "--all").stdout.splitlines()]

    assert (row["type"], row["count"], row["tried"], row["failed"]) == (
        "account.Deposited",
        3,
        3,
        0,
    )
    assert (row["readers"], row["is_readable"]) == (["aggregate:account"], True)
    assert row["example"]["sequence"] == 0


@pytest.mark.spec("UPC-6")
def test_a_store_at_rest_is_looked_at(run: Run, bank: Path, tmp_path: Path) -> None:
    data = tmp_path / "rest"
    main = "\n\nasync def main(app):\n    await app.domain(Account).send('alice', Deposit(5))\n"
    run("run", _module(tmp_path, BANK + main), "--data", data)

    done = run("schema", "check", bank, "--data", data)

    assert done.exit_code == 0, done.output
    assert "account.Deposited" in done.stdout


@pytest.mark.spec("UPC-6")
def test_a_store_that_is_not_there_is_wrong_use(run: Run, bank: Path, tmp_path: Path) -> None:
    done = run("schema", "check", bank, "--data", tmp_path / "gone")

    assert (done.exit_code, done.stderr.startswith("angzarr: there is no store at")) == (2, True)
