"""`angzarr events`: tables, JSON, and parts of a stream."""

import json
import re

import pytest
from tests.cli.conftest import Run


@pytest.fixture
def events(run: Run, address: str) -> Run:
    """The command on a stream of three deposits."""
    for amount in (1, 2, 3):
        payload = json.dumps({"amount_cents": amount})
        run("send", "account", "alice", "Deposit", payload, "--address", address)
    return lambda *arguments: run("events", *arguments, "--address", address)


def test_a_table_has_sequence_time_type_and_payload(events: Run) -> None:
    lines = events("account", "alice").stdout.splitlines()

    assert lines[0].split() == ["seq", "time", "(UTC)", "type", "payload"]
    assert re.fullmatch(
        r' +0  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  account\.Deposited  {"amount_cents": 1} *',
        lines[1],
    )


def test_json_is_one_object_per_line(events: Run) -> None:
    rows = [json.loads(line) for line in events("account", "alice", "--json").stdout.splitlines()]

    assert [row["payload"]["amount_cents"] for row in rows] == [1, 2, 3]


def test_json_keeps_the_nanoseconds(events: Run) -> None:
    row = json.loads(events("account", "alice", "--json").stdout.splitlines()[0])

    assert re.search(r"\.\d{6,9}Z$", row["created_at"])


@pytest.mark.parametrize(
    ("options", "sequences"),
    [
        (("--at", "1"), [0, 1]),
        (("--at", "2001-01-01T00:00:00Z"), []),
        (("--at", "2101-01-01"), [0, 1, 2]),
        (("--at", "position:2"), [0, 1]),
        (("--first", "1"), [1, 2]),
        (("--last", "1"), [0, 1]),
        (("--first", "1", "--last", "1"), [1]),
        (("--edition", "what-if"), [0, 1, 2]),
    ],
)
def test_a_part_of_the_stream_can_be_chosen(
    events: Run, options: tuple[str, ...], sequences: list[int]
) -> None:
    done = events("account", "alice", "--json", *options)

    assert [json.loads(line)["sequence"] for line in done.stdout.splitlines()] == sequences


def test_an_unknown_root_has_no_events_and_is_no_error(events: Run) -> None:
    done = events("account", "bob")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no events in account/bob\n")


@pytest.mark.parametrize(
    "options",
    [("--at", "1", "--first", "1"), ("--follow", "--at", "1"), ("--at", "yesterday")],
)
def test_options_that_contradict_each_other_are_exit_code_2(
    events: Run, options: tuple[str, ...]
) -> None:
    assert events("account", "alice", *options).exit_code == 2
