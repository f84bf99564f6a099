"""`angzarr state`."""

import json

import pytest
from tests.cli.conftest import Run


@pytest.fixture
def state(run: Run, address: str) -> Run:
    """The command on a stream of three deposits, and a branch of it with another one."""
    for amount in (1, 2, 3):
        payload = json.dumps({"amount_cents": amount})
        run("send", "account", "alice", "Deposit", payload, "--address", address)
    return lambda *arguments: run("state", *arguments, "--address", address)


def test_the_state_is_printed_as_json(state: Run) -> None:
    done = state("account", "alice")

    assert json.loads(done.stdout) == {"balance_cents": 6}


@pytest.mark.parametrize(
    ("at", "balance_cents"),
    [("1", 3), ("position:1", 1), ("2101-01-01", 6), ("99", 6)],
)
def test_the_state_is_that_of_a_sequence_a_time_or_a_position(
    state: Run, at: str, balance_cents: int
) -> None:
    done = state("account", "alice", "--at", at)

    assert json.loads(done.stdout) == {"balance_cents": balance_cents}


def test_json_has_the_stream_the_sequence_and_the_type(state: Run) -> None:
    row = json.loads(state("account", "alice", "--json", "--at", "1").stdout)

    assert (row["domain"], row["sequence"], row["type"]) == ("account", 1, "account.Account")
    assert row["state"] == {"balance_cents": 3}


def test_a_branch_has_its_own_state(state: Run) -> None:
    done = state("account", "alice", "--edition", "what-if", "--json")

    assert json.loads(done.stdout)["edition"] == "what-if"


def test_an_unknown_root_has_no_state(state: Run) -> None:
    done = state("account", "nobody")

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "no events in account/nobody\n"


def test_what_is_no_point_is_wrong_use(state: Run) -> None:
    done = state("account", "alice", "--at", "yesterday")

    assert done.exit_code == 2
    assert "position:4711" in done.stderr


def test_an_unknown_domain_is_wrong_use(state: Run) -> None:
    done = state("other", "alice")

    assert done.exit_code == 2
    assert "other" in done.stderr
