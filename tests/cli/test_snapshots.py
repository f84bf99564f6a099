"""`angzarr snapshots` (SNAP-12)."""

import json
import uuid

import pytest
from tests.cli.conftest import Run

from angzarr import wire
from angzarr.cover import Cover, root_of


@pytest.fixture
def snapshots(run: Run, address: str) -> Run:
    """The command on snapshots of alice on main and a branch, and of bob."""
    from angzarr.rpc.remote_store import RemoteStores
    from angzarr.sync_bridge import LoopThread

    for name in ("alice", "bob"):
        run("send", "account", name, "Deposit", '{"amount_cents": 1}', "--address", address)
        run("send", "account", name, "Deposit", '{"amount_cents": 1}', "--address", address)
    branch = ("--edition", "what-if", "--address", address)
    run("send", "account", "alice", "Deposit", '{"amount_cents": 1}', *branch)
    thread = LoopThread()

    async def put() -> None:
        stores = RemoteStores(f"tcp://{address}")
        for cover, sequence, retention in (
            (Cover("account", root_of("alice")), 0, wire.RETENTION_PERSIST),
            (Cover("account", root_of("alice")), 1, wire.RETENTION_DEFAULT),
            (Cover("account", root_of("alice"), "what-if"), 2, wire.RETENTION_DEFAULT),
            (Cover("account", root_of("bob")), 1, wire.RETENTION_DEFAULT),
        ):
            snapshot = wire.Snapshot(sequence=sequence, retention=retention)
            snapshot.state.type_url = "json.angzarr.io/account.Account"
            snapshot.state.value = b"{}"
            await stores.snapshots.put(cover, snapshot.SerializeToString())
        await stores.close()

    thread.run(put())
    thread.close()
    return lambda *arguments: run("snapshots", *arguments, "--address", address)


def _listed(snapshots: Run, *arguments: str) -> list[tuple[str, str, int]]:
    done = snapshots("list", "account", *arguments, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["edition"], row["root"], row["sequence"]) for row in rows]


ALICE, BOB = (str(uuid.UUID(bytes=root_of(name))) for name in ("alice", "bob"))


@pytest.mark.spec("SNAP-12")
def test_those_of_a_domain_are_listed_by_edition_root_and_sequence(snapshots: Run) -> None:
    main = [("angzarr", ALICE, 0), ("angzarr", ALICE, 1), ("angzarr", BOB, 1)]

    assert _listed(snapshots) == [*sorted(main), ("what-if", ALICE, 2)]


@pytest.mark.spec("SNAP-12")
def test_those_of_an_aggregate_or_an_edition_are_listed_alone(snapshots: Run) -> None:
    assert _listed(snapshots, "bob") == [("angzarr", BOB, 1)]
    assert _listed(snapshots, "--edition", "what-if") == [("what-if", ALICE, 2)]
    assert _listed(snapshots, "alice", "--edition", "angzarr") == [
        ("angzarr", ALICE, 0),
        ("angzarr", ALICE, 1),
    ]


@pytest.mark.spec("SNAP-12")
def test_a_table_says_retention_type_and_size(snapshots: Run) -> None:
    lines = snapshots("list", "account", "alice", "--edition", "angzarr").stdout.splitlines()

    assert lines[0].split() == ["edition", "root", "sequence", "retention", "type", "size", "bytes"]
    assert lines[1].split()[:5] == ["angzarr", ALICE, "0", "persist", "account.Account"]


@pytest.mark.spec("SNAP-12")
def test_all_of_a_domain_are_deleted_on_every_edition(snapshots: Run) -> None:
    done = snapshots("delete", "account")

    assert done.stdout == "4 deleted\n"
    assert _listed(snapshots) == []


@pytest.mark.spec("SNAP-12")
def test_those_of_an_aggregate_are_deleted_alone(snapshots: Run) -> None:
    done = snapshots("delete", "account", "alice")

    assert done.stdout == "3 deleted\n"
    assert _listed(snapshots) == [("angzarr", BOB, 1)]


@pytest.mark.spec("SNAP-12")
def test_those_of_an_edition_are_deleted_alone(snapshots: Run) -> None:
    done = snapshots("delete", "account", "--edition", "what-if")

    assert done.stdout == "1 deleted\n"
    assert len(_listed(snapshots)) == 3


@pytest.mark.spec("SNAP-12")
def test_after_a_deletion_commands_read_the_events(snapshots: Run, run: Run, address: str) -> None:
    """The snapshots of the fixture hold no balance at all."""
    snapshots("delete", "account")

    run("send", "account", "alice", "Deposit", '{"amount_cents": 1}', "--address", address)
    done = run("state", "account", "alice", "--address", address)

    assert json.loads(done.stdout) == {"balance_cents": 3}


def test_without_any_that_is_said(snapshots: Run) -> None:
    done = snapshots("list", "other")

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "no snapshots of other\n"


def test_a_wrong_domain_is_wrong_use(snapshots: Run) -> None:
    assert snapshots("delete", "No Domain").exit_code == 2
