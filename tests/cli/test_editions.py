"""`angzarr editions` against a running server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from click.testing import Result

from angzarr import Aggregate, App, applies, command
from angzarr.caller_sync import SyncCaller
from angzarr.cli.edition_views import ranges
from angzarr.client import connect_sync
from angzarr.cover import Cover, root_of
from angzarr.sync_bridge import LoopThread
from angzarr.testing.clock import ManualClock

Run = Callable[..., Result]
STREAM = str(Cover("box", root_of("x")))


@dataclass
class Put:
    field: str
    value: int


@dataclass
class WasPut:
    field: str
    value: int


class Box(Aggregate, domain="box"):
    width: int = 0
    height: int = 0

    @command
    def put(self, cmd: Put) -> WasPut:
        return WasPut(cmd.field, cmd.value)

    @applies
    def was_put(self, event: WasPut) -> None:
        setattr(self, event.field, event.value)


@pytest.fixture
def served() -> Iterator[str]:
    app = App(Box, store="memory://", clock=ManualClock())
    thread = LoopThread()
    thread.run(app.start())
    server = thread.run(app.serve(port=0))
    yield server.addresses[0]
    thread.run(server.stop(0))
    thread.run(app.stop())
    thread.close()


@pytest.fixture
def editions(run: Run, served: str) -> Run:
    """The command with the server's address."""

    def invoke(name: str, *arguments: object, text: str | None = None) -> Result:
        return run("editions", name, *arguments, "--address", served, text=text)

    return invoke


@pytest.fixture
def client(served: str) -> Iterator[SyncCaller]:
    """Main has width 1 and 2; `what-if` leaves it after the first with a height."""
    with connect_sync(served) as client:
        box = client.domain(Box)
        box.send("x", Put("width", 1))
        box.send("x", Put("width", 2))
        box.on("what-if", divergence=1).send("x", Put("height", 9))
        yield client


@pytest.mark.spec("EDN-19")
def test_a_list_has_names_streams_and_quotas(editions: Run, client: SyncCaller) -> None:
    client.editions.declare("what-if", max_pages=5)

    shown = editions("list")

    assert (shown.exit_code, "what-if" in shown.stdout) == (0, True)
    assert "box: 1" in shown.stdout
    assert "1 of 5" in shown.stdout


@pytest.mark.spec("EDN-19")
def test_a_list_may_be_json(editions: Run, client: SyncCaller) -> None:
    shown = editions("list", "--json")

    [row] = map(json.loads, shown.stdout.splitlines())
    assert (row["edition"], row["parent"], row["is_declared"]) == ("what-if", "angzarr", False)
    assert (row["pages"], row["streams"]) == (1, {"box": 1})


def test_an_empty_list_says_so_on_stderr(editions: Run) -> None:
    shown = editions("list")

    assert (shown.exit_code, shown.stdout) == (0, "")
    assert shown.stderr == "no editions but main\n"


@pytest.mark.spec("EDN-19")
def test_one_edition_is_shown_with_the_divergence_of_each_stream(
    editions: Run, client: SyncCaller
) -> None:
    shown = editions("show", "what-if")
    rows = [json.loads(line) for line in editions("show", "what-if", "--json").stdout.splitlines()]

    assert STREAM in shown.stdout
    assert [row["edition"] for row in rows] == ["what-if", "what-if"]
    assert (rows[1]["domain"], rows[1]["divergence"], rows[1]["next_sequence"]) == ("box", 1, 2)


def test_an_unknown_edition_is_wrong_use(editions: Run) -> None:
    shown = editions("show", "nobody")

    assert (shown.exit_code, shown.stderr) == (2, "angzarr: Unknown edition nobody\n")


@pytest.mark.spec("EDN-20")
def test_an_edition_is_created_with_its_limits(editions: Run, client: SyncCaller) -> None:
    made = editions(
        "create", "kid", "--parent", "what-if", "--ttl", "36h", "--max-pages", 5, "--max-bytes", 99
    )

    assert made.exit_code == 0
    assert made.stdout == (
        "edition kid: a branch of what-if, expires 2026-01-02T12:00:00Z, at most 5 pages, "
        "at most 99 bytes\n"
    )


@pytest.mark.spec("EDN-20")
def test_another_parent_is_refused(editions: Run, client: SyncCaller) -> None:
    editions("create", "kid", "--parent", "what-if")

    made = editions("create", "kid")

    assert made.exit_code == 3
    assert "edition kid is a branch of what-if" in made.stderr


@pytest.mark.parametrize("options", [["--ttl", "soon"], ["--expires-at", "soon"]])
def test_a_time_that_is_none_is_wrong_use(editions: Run, options: list[str]) -> None:
    assert editions("create", "kid", *options).exit_code == 2


def test_two_ends_of_life_are_wrong_use(editions: Run) -> None:
    made = editions("create", "kid", "--ttl", "1d", "--expires-at", "2026-06-01")

    assert made.exit_code == 2


@pytest.mark.spec("EDN-20")
def test_limits_that_are_not_named_stay(editions: Run, client: SyncCaller) -> None:
    editions("create", "kid", "--parent", "what-if", "--ttl", "1d", "--max-pages", 5)

    editions("set", "kid", "--max-bytes", 99)

    record = client.editions.get("kid").record
    assert record is not None
    assert (record.parent, record.max_pages, record.max_bytes) == ("what-if", 5, 99)
    assert record.expires_at is not None


@pytest.mark.spec("EDN-20")
def test_an_end_of_life_may_be_taken_back(editions: Run, client: SyncCaller) -> None:
    editions("create", "kid", "--ttl", "1d", "--max-pages", 5)

    shown = editions("set", "kid", "--never")

    assert shown.stdout == "edition kid: a branch of main, at most 5 pages\n"


def test_limits_of_an_undeclared_edition_are_wrong_use(editions: Run, client: SyncCaller) -> None:
    shown = editions("set", "what-if", "--max-pages", 5)

    assert shown.exit_code == 2
    assert "what-if is not declared" in shown.stderr


@pytest.mark.spec("EDN-25")
def test_an_edition_is_deleted(editions: Run, client: SyncCaller) -> None:
    shown = editions("delete", "what-if", "--yes")

    assert (shown.exit_code, shown.stdout) == (0, "box: 1 pages deleted\n")
    assert list(client.editions.list()) == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 3, 1), ("", 2, 1)])
def test_a_deletion_is_asked_for(
    editions: Run, client: SyncCaller, answer: str, code: int, left: int
) -> None:
    shown = editions("delete", "what-if", text=answer)

    assert (shown.exit_code, len(list(client.editions.list()))) == (code, left)
    assert "delete edition what-if?" in shown.stderr


@pytest.mark.spec("EDN-25")
def test_an_edition_with_branches_is_not_deleted(editions: Run, client: SyncCaller) -> None:
    editions("create", "kid", "--parent", "what-if")

    shown = editions("delete", "what-if", "--yes")

    assert (shown.exit_code, "has branches [kid]" in shown.stderr) == (3, True)


@pytest.mark.spec("EDN-26")
def test_a_difference_has_events_and_states_side_by_side(editions: Run, client: SyncCaller) -> None:
    shown = editions("diff", "what-if")

    title, header, first, states = [line.rstrip() for line in shown.stdout.splitlines()]
    assert title == f"{STREAM} differs from 1 on; fields of the state: height, width"
    assert header.split() == ["seq", "main", "what-if"]
    assert first.split()[:2] == ["1", "box.WasPut"]
    assert '{"width": 2, "height": 0}' in states
    assert '{"width": 1, "height": 9}' in states


@pytest.mark.spec("EDN-26")
def test_a_difference_may_be_json(editions: Run, client: SyncCaller) -> None:
    shown = editions("diff", "what-if", "angzarr", "--domain", "box", "--root", "x", "--json")

    [row] = map(json.loads, shown.stdout.splitlines())
    assert (row["first_sequence"], row["fields"]) == (1, ["height", "width"])
    assert row["left"]["edition"] == "what-if"
    assert row["left"]["state"] == {"width": 1, "height": 9}
    assert [event["payload"] for event in row["right"]["events"]] == [
        {"field": "width", "value": 2}
    ]


def test_editions_that_are_equal_are_told_on_stderr(editions: Run, client: SyncCaller) -> None:
    shown = editions("diff", "what-if", "what-if")

    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "no stream differs\n")


@pytest.mark.spec("EDN-27")
def test_a_promotion_shows_its_report_and_asks(editions: Run, client: SyncCaller) -> None:
    shown = editions("promote", "what-if", text="y\n")

    assert shown.exit_code == 0
    assert "disjoint" in shown.stdout
    assert "record these events on main?" in shown.stderr
    assert f"{STREAM}: 1 of the branch are 2 of main\n" in shown.stdout
    assert client.domain(Box).state("x") == Box(width=2, height=9)


@pytest.mark.spec("EDN-27")
@pytest.mark.parametrize(("answer", "code"), [("n\n", 3), ("", 2)])
def test_without_a_yes_nothing_is_promoted(
    editions: Run, client: SyncCaller, answer: str, code: int
) -> None:
    assert editions("promote", "what-if", text=answer).exit_code == code
    assert client.domain(Box).state("x") == Box(width=2)


@pytest.mark.spec("EDN-27")
def test_a_dry_run_reports_only(editions: Run, client: SyncCaller) -> None:
    shown = editions("promote", "what-if", "--dry-run", "--json")

    [row] = map(json.loads, shown.stdout.splitlines())
    assert (row["judgement"], row["theirs"], row["mine"]) == ("disjoint", ["width"], ["height"])
    assert (row["sequences"], row["recorded"]) == ([1], [])
    assert client.domain(Box).state("x") == Box(width=2)


@pytest.mark.spec("EDN-27")
def test_chosen_events_are_promoted(editions: Run, client: SyncCaller) -> None:
    branch = client.domain(Box).on("what-if")
    for value in (10, 11, 12):
        branch.send("x", Put("height", value))

    shown = editions(
        "promote", "what-if", "--domain", "box", "--root", "x", "--sequences", "1,3-4", "--yes"
    )

    assert f"{STREAM}: 1, 3-4 of the branch are 2-4 of main\n" in shown.stdout


@pytest.mark.spec("EDN-27")
def test_a_conflict_is_refused_before_anybody_is_asked(editions: Run, client: SyncCaller) -> None:
    client.domain(Box).on("what-if").send("x", Put("width", 7))

    shown = editions("promote", "what-if")

    assert shown.exit_code == 3
    assert "conflict: width" in shown.stdout
    assert f"in conflict with what main has become: {STREAM}" in shown.stderr
    assert client.domain(Box).state("x") == Box(width=2)


@pytest.mark.spec("EDN-27")
def test_a_conflict_may_be_accepted(editions: Run, client: SyncCaller) -> None:
    client.domain(Box).on("what-if").send("x", Put("width", 7))

    shown = editions("promote", "what-if", "--accept-conflicts", "--yes")

    assert shown.exit_code == 0
    assert client.domain(Box).state("x") == Box(width=7, height=9)


def test_what_was_promoted_before_asks_nothing(editions: Run, client: SyncCaller) -> None:
    editions("promote", "what-if", "--yes")

    shown = editions("promote", "what-if")

    assert shown.exit_code == 0
    assert f"{STREAM}: 1 of the branch are 2 of main already\n" in shown.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--root", "x"],
        ["--domain", "box", "--sequences", "3"],
        ["--domain", "box", "--root", "x", "--sequences", "3-x"],
        ["--domain", "box", "--root", "x", "--sequences", "0-4000000000"],
        ["--json"],
    ],
)
def test_choices_that_say_nothing_are_wrong_use(
    editions: Run, client: SyncCaller, options: list[str]
) -> None:
    assert editions("promote", "what-if", *options).exit_code == 2


def test_ranges_are_short() -> None:
    assert ranges([3, 4, 5, 7, 9, 10]) == "3-5, 7, 9-10"
