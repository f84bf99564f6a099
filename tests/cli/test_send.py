"""`angzarr send` and what it says when it is refused."""

import json

import pytest
from tests.cli.conftest import Run


@pytest.fixture
def send(run: Run, address: str) -> Run:
    return lambda *arguments, text=None: run("send", *arguments, "--address", address, text=text)


def test_the_events_of_a_command_are_printed(send: Run) -> None:
    done = send("account", "alice", "Deposit", '{"amount_cents": 5}')

    assert (done.exit_code, done.stdout) == (0, '0  account.Deposited  {"amount_cents": 5}\n')


def test_a_type_may_be_given_by_its_full_name(send: Run) -> None:
    assert send("account", "alice", "account.Deposit", '{"amount_cents": 5}').exit_code == 0


def test_json_may_come_from_stdin(send: Run) -> None:
    assert send("account", "alice", "Deposit", "-", text='{"amount_cents": 5}').exit_code == 0


def test_json_output_is_one_object_per_event(send: Run) -> None:
    done = send("account", "alice", "Deposit", '{"amount_cents": 5}', "--json")

    row = json.loads(done.stdout)
    assert (row["domain"], row["sequence"], row["payload"]) == ("account", 0, {"amount_cents": 5})


def test_a_dry_run_stores_nothing(send: Run) -> None:
    for _ in range(2):
        done = send("account", "alice", "Deposit", '{"amount_cents": 5}', "--dry-run")

    assert done.stdout.startswith("0  ")


@pytest.mark.spec("SPEC-2")
def test_at_a_point_the_past_decides_and_nothing_is_stored(send: Run) -> None:
    for _ in range(3):
        send("account", "alice", "Deposit", '{"amount_cents": 5}')

    done = send("account", "alice", "Deposit", '{"amount_cents": 5}', "--at", "0")

    assert done.stdout.startswith("1  account.Deposited")
    again = send("account", "alice", "Deposit", '{"amount_cents": 5}', "--dry-run")
    assert again.stdout.startswith("3  ")


def test_a_key_executes_a_repeated_command_once(send: Run) -> None:
    for _ in range(2):
        done = send("account", "a", "Deposit", '{"amount_cents": 5}', "--idempotency", "k")

    assert done.stdout.startswith("0  ")


def test_a_refusal_is_one_line_and_exit_code_3(send: Run) -> None:
    done = send("account", "alice", "Deposit", '{"amount_cents": 0}')

    assert (done.exit_code, done.stderr) == (3, "angzarr: deposit a positive amount\n")


def test_a_moved_stream_is_exit_code_3(send: Run) -> None:
    deposit = ("account", "alice", "Deposit", '{"amount_cents": 5}')
    send(*deposit)

    done = send(*deposit, "--expected-sequence", 0, "--merge", "strict")

    assert done.exit_code == 3
    assert "command expects 0, aggregate at 1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("account", "a", "Depositt", "{}"), "it has: account.Deposit"),
        (("account", "a", "Deposit", '{"amount_cents": "x"}'), "Expected `int`, got `str`"),
        (("account", "a", "Deposit", "nonsense"), "not JSON"),
        (("account", "a", "Deposit", "[1]"), "a JSON object"),
        (("other", "a", "Deposit", "{}"), "No aggregate registered for domain: other"),
        (("ACCOUNT", "a", "Deposit", "{}"), "cover.domain"),
        (("account", "a", "Deposit", "{}", "--merge", "x"), "one of commutative, strict"),
        (("account", "a", "Deposit", "{}", "--merge", "strict"), "give expected_sequence too"),
        (("account", "a", "Deposit", "{}", "--edition", "A"), "cover.edition.name"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(
    send: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = send(*arguments)

    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_is_exit_code_4_and_says_how_to_start_one(run: Run) -> None:
    done = run("send", "account", "a", "Deposit", "{}", "--address", "127.0.0.1:1")

    assert done.exit_code == 4
    assert "no server answers at 127.0.0.1:1" in done.stderr
    assert "angzarr serve" in done.stderr


def test_an_address_that_does_not_parse_is_exit_code_2(run: Run) -> None:
    assert run("send", "account", "a", "Deposit", "{}", "--address", "nonsense").exit_code == 2
