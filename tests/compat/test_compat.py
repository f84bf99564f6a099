"""The published client's handlers and callers against our server, nothing of them changed."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from grpc_health.v1 import health_pb2

from angzarr import errors, wire
from angzarr.config import load
from angzarr.cover import Cover
from angzarr.handlers import Aggregate, applies, command
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.rpc.client_transport import GrpcTransport

pytestmark = pytest.mark.timeout(300)  # the first run makes the client's environment

ROOT = "00112233445566778899aabbccddeeff"
SERVING, NOT_SERVING = 1, 2

StartHandler = Callable[..., Any]
StartCoordinator = Callable[..., Awaitable[Any]]


class Note(Aggregate, domain="note"):
    """An aggregate of ours, with protobuf messages."""

    @command
    def write(self, cmd: wrappers_pb2.StringValue) -> wrappers_pb2.Int64Value:
        return wrappers_pb2.Int64Value(value=len(cmd.value))

    @applies
    def written(self, event: wrappers_pb2.Int64Value) -> None:
        pass


WRITE_DESCRIPTORS = """
import sys
from google.protobuf import descriptor_pb2
from angzarr_client.proto.examples import player_pb2
todo, files = [player_pb2.DESCRIPTOR], {}
while todo:
    file = todo.pop()
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    files[file.name] = proto
    todo += file.dependencies
found = descriptor_pb2.FileDescriptorSet(file=files.values())
open(sys.argv[1], "wb").write(found.SerializeToString())
"""


@pytest.fixture
def descriptors(peer: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """A file with the descriptors of the client's example messages."""
    path = folder / "player.desc"
    subprocess.run([peer, "-c", WRITE_DESCRIPTORS, path], check=True)
    return path


def player_at(handler: Any) -> dict[str, object]:
    return {"aggregate:player": {"endpoint": handler.endpoint}}


def balances(book: dict[str, Any]) -> list[int | None]:
    return [page["balance"] for page in book["pages"]]


@pytest.mark.spec("COMPAT-1", "WIRE-15")
async def test_one_channel_serves_all_that_the_client_calls(coordinator: Any) -> None:
    found = await coordinator.call("every_client")

    assert found["query"]["next_sequence"] == 3
    assert balances(found["domain"]) == [23]
    assert balances(found["simple"]) == [27]
    assert found["health"] == [SERVING, SERVING, SERVING]


@pytest.mark.spec("COMPAT-1", "OPS-10")
def test_default_address_is_where_the_client_looks() -> None:
    assert load(environ={}).listen == ("127.0.0.1", 1310)


@pytest.mark.spec("COMPAT-2")
async def test_coordinator_numbers_and_stamps_what_a_handler_returns(coordinator: Any) -> None:
    """The client's handlers return no cover, no time, and committed=false."""
    books = await coordinator.call("story")

    assert [book["pages"][0]["sequence"] for book in books] == [0, 1, 2]
    assert [book["next_sequence"] for book in books] == [1, 2, 3]
    assert {(book["domain"], book["root"], book["edition"]) for book in books} == {
        ("player", ROOT, "angzarr")
    }
    pages = [page for book in books for page in book["pages"]]
    assert len(pages) == 3
    assert all(page["committed"] and page["is_stamped"] for page in pages)
    assert [page["balance"] for page in pages] == [None, 5, 12]


@pytest.mark.spec("COMPAT-3", "CMD-31")
async def test_echoed_prior_pages_are_dropped(
    start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    handler = start_handler("echo")
    coordinator = await start_coordinator(components=player_at(handler))
    await coordinator.serving()

    books = await coordinator.call("story")

    assert [len(book["pages"]) for book in books] == [1, 1, 1]
    assert [book["pages"][0]["sequence"] for book in books] == [0, 1, 2]
    assert balances(books[2]) == [12]


@pytest.mark.spec("COMPAT-4")
async def test_handler_that_gave_no_snapshot_is_sent_the_full_history(coordinator: Any) -> None:
    """With the snapshot it would number and add up from the pages after it only."""
    await coordinator.call("many")
    cover = Cover("player", bytes.fromhex(ROOT))
    state = any_pb2.Any(type_url="type.googleapis.com/examples.PlayerState")
    snapshot = wire.Snapshot(sequence=12, state=state).SerializeToString()
    await coordinator.app.stores.snapshots.put(cover, snapshot, SnapshotPolicy())

    book = await coordinator.call("one_more")

    assert [page["sequence"] for page in book["pages"]] == [13]
    assert balances(book) == [130]


@pytest.mark.spec("COMPAT-4")
async def test_making_snapshots_for_a_handler_that_ignores_them_is_refused_at_the_start(
    start_coordinator: StartCoordinator,
) -> None:
    components = {"aggregate:player": {"endpoint": "tcp://127.0.0.1:9"}}

    with pytest.raises(errors.InvalidInput, match="accepts_snapshots"):
        await start_coordinator(components=components, snapshots__every=2)


@pytest.mark.spec("COMPAT-5", "CMD-11")
async def test_error_of_a_handler_is_final_whatever_its_code(
    coordinator: Any, handler: Any
) -> None:
    rejected, invalid, crashed, unknown, nobody = await coordinator.call("errors")

    assert (rejected["code"], rejected["text"]) == (
        "FAILED_PRECONDITION", "Player does not exist",
    )  # fmt: skip
    assert (invalid["code"], invalid["text"]) == ("INVALID_ARGUMENT", "email is required")
    assert crashed["code"] == "UNKNOWN"
    assert "boom" in crashed["text"]
    assert unknown["code"] == "INVALID_ARGUMENT"
    assert (nobody["code"], nobody["text"]) == (
        "NOT_FOUND", "No aggregate registered for domain: nobody",
    )  # fmt: skip
    assert handler.decided() == ["DepositFunds", "RegisterPlayer", "RegisterPlayer"]


@pytest.mark.spec("WIRE-11", "COMPAT-5")
async def test_errors_of_a_handler_without_kinds_get_one(coordinator: Any) -> None:
    found = await coordinator.call("errors")

    assert [error["kind"] for error in found] == [
        "rejected", "invalid_input", "internal", "invalid_input", "not_found",
    ]  # fmt: skip


@pytest.mark.spec("COMPAT-12", "CMD-15")
async def test_commutative_merge_degrades_to_strict_without_replay(
    start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    """The router style answers Replay with UNIMPLEMENTED or INTERNAL."""
    coordinator = await start_coordinator(components=player_at(start_handler("router")))
    await coordinator.serving()

    first, disjoint = await coordinator.call("default_stamp")

    assert (first["code"], first["text"]) == (
        "FAILED_PRECONDITION", "Sequence mismatch: command expects 0, aggregate at 3",
    )  # fmt: skip
    assert (disjoint["code"], disjoint["text"]) == (
        "FAILED_PRECONDITION", "Sequence mismatch: command expects 1, aggregate at 3",
    )  # fmt: skip


@pytest.mark.spec("COMPAT-12", "CMD-22", "CMD-15")
async def test_commutative_merge_compares_replayed_states_by_descriptor(
    start_handler: StartHandler,
    start_coordinator: StartCoordinator,
    descriptors: pathlib.Path,
) -> None:
    coordinator = await start_coordinator(
        components=player_at(start_handler("class")), descriptor_path=str(descriptors)
    )
    await coordinator.serving()

    overlapping, disjoint = await coordinator.call("default_stamp")

    assert overlapping["text"] == (
        "Sequence mismatch with overlapping fields: command expects 0, aggregate at 3"
    )
    assert [page["sequence"] for page in disjoint["pages"]] == [3]


@pytest.mark.spec("COMPAT-15", "UPC-4")
async def test_what_an_upcasters_reply_lost_is_put_back(
    start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    upcaster = start_handler("upcaster")
    coordinator = await start_coordinator(
        components=player_at(start_handler("router")),
        upcaster__enabled=True,
        upcaster__address=upcaster.endpoint,
    )
    await coordinator.serving()

    book = await coordinator.call("many")

    assert book["pages"][0]["name"] == "AL"
    assert [page["sequence"] for page in book["pages"]] == list(range(13))
    assert all(page["committed"] and page["is_stamped"] for page in book["pages"])


@pytest.mark.spec("COMPAT-15", "UPC-4")
async def test_upcasters_reply_of_another_length_is_an_internal_error(
    start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    upcaster = start_handler("upcaster-short")
    coordinator = await start_coordinator(
        components=player_at(start_handler("router")),
        upcaster__enabled=True,
        upcaster__address=upcaster.endpoint,
    )
    await coordinator.serving()

    first, _ = await coordinator.call("short_upcast")

    assert first["code"] == "INTERNAL"
    assert first["text"].startswith("Upcaster failed: sent 1 pages, got 0")


@pytest.mark.spec("COMPAT-16", "WIRE-6")
async def test_command_is_found_by_its_full_name_under_any_prefix(
    start_coordinator: StartCoordinator,
) -> None:
    coordinator = await start_coordinator(Note)

    books = await coordinator.call("prefixes")

    assert [book["pages"][0]["sequence"] for book in books] == [0, 1, 2]


@pytest.mark.spec("COMPAT-17", "WIRE-7")
async def test_three_spellings_of_main_are_one_and_come_back_as_angzarr(coordinator: Any) -> None:
    books = await coordinator.call("editions")

    assert [book["edition"] for book in books] == ["angzarr"] * 3
    assert [book["next_sequence"] for book in books] == [3, 3, 3]


@pytest.mark.spec("COMPAT-17", "CMD-2")
async def test_root_of_another_length_is_refused(coordinator: Any) -> None:
    found = await coordinator.call("short_root")

    assert found["code"] == "INVALID_ARGUMENT"
    assert found["text"].startswith("Invalid UUID")


@pytest.mark.spec("COMPAT-18", "OPS-2")
async def test_server_starts_without_its_handler_and_serves_when_it_comes(
    folder: pathlib.Path, start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    endpoint = f"unix://{folder}/business-router.sock"
    components = {"aggregate:player": {"endpoint": endpoint}}
    coordinator = await start_coordinator(components=components)
    before = coordinator.server.health.is_serving("aggregate:player")

    handler = start_handler("router")
    await coordinator.serving()

    assert (before, handler.endpoint) == (False, endpoint)
    assert len(await coordinator.call("story")) == 3


@pytest.mark.spec("COMPAT-19", "WIRE-10", "WIRE-9")
async def test_mismatch_carries_the_current_book(coordinator: Any) -> None:
    found = await coordinator.call("strict")

    assert (found["code"], found["kind"]) == ("FAILED_PRECONDITION", "sequence_mismatch")
    assert found["text"] == "Sequence mismatch: command expects 1, aggregate at 3"
    assert (found["book"]["domain"], found["book"]["root"]) == ("player", ROOT)
    assert found["book"]["next_sequence"] == 3
    assert [page["sequence"] for page in found["book"]["pages"]] == [0, 1, 2]


@pytest.mark.spec("COMPAT-1", "QRY-6", "QRY-8")
async def test_queries_of_the_clients_builder_are_answered(coordinator: Any) -> None:
    found = await coordinator.call("queries")

    def sequences(name: str) -> list[int]:
        return [page["sequence"] for page in found[name]["pages"]]

    assert sequences("all") == sequences("as_of_time") == [0, 1, 2, 3, 4, 5]
    assert sequences("range") == [3, 4, 5]
    assert sequences("range_to") == [1, 2]
    assert sequences("as_of_sequence") == [0, 1, 2]
    assert sequences("before") == sequences("unknown") == []
    assert sequences("by_correlation_id") == [5]
    assert found["stream"] == [found["all"]]
    assert found["pages"] == found["all"]["pages"]


@pytest.mark.spec("COMPAT-1", "SPEC-1")
async def test_speculation_of_the_client_stores_nothing(coordinator: Any) -> None:
    first, second, after = await coordinator.call("speculate")

    assert balances(first) == balances(second) == [120]
    assert after["next_sequence"] == 3


@pytest.mark.spec("COMPAT-20")
async def test_handler_on_tcp_is_reached(
    start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    handler = start_handler("router", transport="tcp")
    coordinator = await start_coordinator(components=player_at(handler))
    await coordinator.serving()

    assert len(await coordinator.call("story")) == 3


@pytest.mark.spec("COMPAT-20", "OPS-12")
async def test_client_reaches_us_on_a_unix_socket_named_by_its_variables(
    folder: pathlib.Path,
    start_coordinator: StartCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRANSPORT_TYPE", "uds")
    monkeypatch.setenv("UDS_BASE_PATH", str(folder))
    coordinator = await start_coordinator(Note)

    socket = coordinator.server.addresses[-1]
    books = await coordinator.call("prefixes", address=socket)

    assert socket.startswith(f"unix:{folder}/")
    assert [book["pages"][0]["sequence"] for book in books] == [0, 1, 2]


@pytest.mark.spec("COMPAT-20", "OPS-10")
@pytest.mark.parametrize("transport", ["tcp", "uds"])
async def test_client_reaches_us_over_tls(
    pems: pathlib.Path,
    folder: pathlib.Path,
    start_coordinator: StartCoordinator,
    transport: str,
) -> None:
    coordinator = await start_coordinator(
        Note,
        transport__type=transport,
        transport__uds__base_path=str(folder),
        transport__tls__cert=str(pems / "localhost.pem"),
        transport__tls__key=str(pems / "localhost.key"),
    )

    address = coordinator.server.addresses[-1]
    book = await coordinator.call("tls", str(pems / "ca.pem"), address=address)

    assert address.startswith("unix:" if transport == "uds" else "127.0.0.1:")
    assert [page["sequence"] for page in book["pages"]] == [0]


@pytest.mark.spec("COMPAT-18")
async def test_handler_process_does_not_answer_health_under_its_full_service_name(
    start_handler: StartHandler, start_coordinator: StartCoordinator
) -> None:
    """Why "" is what is waited for."""
    handler = start_handler("router")
    coordinator = await start_coordinator(components=player_at(handler))
    await coordinator.serving()
    transport = GrpcTransport(handler.endpoint)
    check = "/grpc.health.v1.Health/Check"

    by_nothing = await transport.unary(check, b"")
    by_name = health_pb2.HealthCheckRequest(service="angzarr.CommandHandlerService")
    with pytest.raises(errors.RemoteError) as caught:
        await transport.unary(check, by_name.SerializeToString())

    assert by_nothing == health_pb2.HealthCheckResponse(status=SERVING).SerializeToString()
    assert caught.value.code == "NOT_FOUND"
    await transport.close()
