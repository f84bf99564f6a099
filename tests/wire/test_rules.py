"""WIRE rules as a caller meets them, over gRPC, on an app of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, wrappers_pb2

from angzarr import wire
from angzarr.app import App
from angzarr.cover import Cover
from angzarr.errors import CommandRejected
from angzarr.handlers import Aggregate, applies, command
from angzarr.rpc.client_transport import GrpcTransport

HANDLE = "/angzarr.CommandHandlerCoordinatorService/HandleCommand"
GET_EVENT_BOOK = "/angzarr.EventQueryService/GetEventBook"
SUBSCRIBE = "/angzarr.EventStreamService/Subscribe"
ROOT = bytes(range(16))


class Note(Aggregate, domain="note"):
    """Counts what is written to it; an empty text is refused."""

    count: int = 0

    @command
    def write(self, cmd: wrappers_pb2.StringValue) -> wrappers_pb2.Int64Value:
        if not cmd.value:
            raise CommandRejected("nothing to write")
        return wrappers_pb2.Int64Value(value=self.count + 1)

    @applies
    def written(self, event: wrappers_pb2.Int64Value) -> None:
        self.count = event.value


@dataclass
class Served:
    app: App
    transport: GrpcTransport
    address: str

    async def send(
        self, request: wire.CommandRequest, **metadata: str | bytes
    ) -> wire.CommandResponse:
        named = {key.replace("_", "-"): value for key, value in metadata.items()}
        data = request.SerializeToString()
        answer = await self.transport.unary(HANDLE, data, metadata=named)
        return wire.CommandResponse.FromString(answer)

    async def book(self, cover: wire.Cover) -> wire.EventBook:
        query = wire.Query(cover=cover).SerializeToString()
        return wire.EventBook.FromString(await self.transport.unary(GET_EVENT_BOOK, query))


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = App(Note, store="memory://")
    async with app:
        server = await app.serve(port=0)
        transport = GrpcTransport(server.addresses[0])
        yield Served(app, transport, server.addresses[0])
        await transport.close()
        await server.stop(0)


def request(
    *,
    text: str = "hi",
    header: wire.PageHeader | None = None,
    edition: str | None = None,
    **fields: Any,
) -> wire.CommandRequest:
    cover = wire.Cover(domain="note", root=wire.UUID(value=ROOT), correlation_id="c-1")
    if edition is not None:
        cover.edition.name = edition
    payload = any_pb2.Any()
    payload.Pack(wrappers_pb2.StringValue(value=text))
    page = wire.CommandPage(header=header or wire.PageHeader(sequence=0), command=payload)
    page.merge_strategy = fields.pop("merge_strategy", wire.MERGE_COMMUTATIVE)
    return wire.CommandRequest(command=wire.CommandBook(cover=cover, pages=[page]), **fields)


@pytest.mark.spec("WIRE-2")
async def test_unknown_enum_numbers_cause_no_error(served: Served) -> None:
    sent = request(sync_mode=99, cascade_error_mode=98, merge_strategy=97)

    answer = await served.send(sent)

    assert answer.events.next_sequence == 1


@pytest.mark.spec("WIRE-2", "CMD-16")
async def test_unknown_merge_strategy_is_commutative(served: Served) -> None:
    """Which a stamp above the head tells from AGGREGATE_HANDLES, and the text from MANUAL."""
    sent = request(merge_strategy=97, header=wire.PageHeader(sequence=5))

    with pytest.raises(Exception, match=r"^Sequence mismatch: command expects 5, aggregate at 0$"):
        await served.send(sent)


@pytest.mark.spec("WIRE-2")
async def test_unknown_fields_of_a_request_are_ignored(served: Served) -> None:
    data = request().SerializeToString() + b"\xfa\x3f\x02hi"

    answer = wire.CommandResponse.FromString(await served.transport.unary(HANDLE, data))

    assert answer.events.next_sequence == 1


@pytest.mark.spec("WIRE-7", "STO-1")
@pytest.mark.parametrize("written", [None, "", "angzarr"])
@pytest.mark.parametrize("read", [None, "", "angzarr"])
async def test_three_spellings_of_main_reach_the_same_stream(
    served: Served, written: str | None, read: str | None
) -> None:
    await served.send(request(edition=written))
    cover = wire.Cover(domain="note", root=wire.UUID(value=ROOT))
    if read is not None:
        cover.edition.name = read

    book = await served.book(cover)

    assert (book.next_sequence, book.cover.edition.name) == (1, "angzarr")


@pytest.mark.spec("WIRE-8")
async def test_page_that_is_not_committed_is_pending_only_with_a_cascade_id(
    served: Served,
) -> None:
    event = any_pb2.Any()
    event.Pack(wrappers_pb2.Int64Value(value=1))
    plain = wire.EventPage(header=wire.PageHeader(sequence=0), event=event)
    held = wire.EventPage(header=wire.PageHeader(sequence=1), event=event, cascade_id="x-1")
    store, cover = served.app.stores.events, Cover("note", ROOT)
    await store.append(cover, 0, [plain.SerializeToString()])
    await store.append(cover, 1, [held.SerializeToString()], cascade_id="x-1")

    book = await served.book(wire.Cover(domain="note", root=wire.UUID(value=ROOT)))

    names = [page.event.type_url.rpartition("/")[2] for page in book.pages]
    assert names == ["google.protobuf.Int64Value", "angzarr.NoOp"]


@pytest.mark.spec("WIRE-9")
async def test_next_sequence_follows_the_last_page_and_is_zero_without_any(
    served: Served,
) -> None:
    cover = wire.Cover(domain="note", root=wire.UUID(value=ROOT))
    empty = await served.book(cover)

    await served.send(request())

    assert (empty.next_sequence, (await served.book(cover)).next_sequence) == (0, 1)


@pytest.mark.spec("WIRE-11", "WIRE-10")
async def test_mismatch_has_kind_text_and_raw_book(served: Served) -> None:
    await served.send(request())
    sent = request(merge_strategy=wire.MERGE_STRICT).SerializeToString()

    async with grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(HANDLE)(sent)

    error = caught.value
    trailers = dict(error.trailing_metadata())
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "Sequence mismatch: command expects 0, aggregate at 1"
    assert trailers["angzarr-error-kind"] == "sequence_mismatch"
    book = wire.EventBook.FromString(trailers["grpc-status-details-bin"])
    assert (book.next_sequence, len(book.pages)) == (1, 1)


@pytest.mark.spec("WIRE-11")
async def test_invalid_input_says_field_limit_and_value(served: Served) -> None:
    sent = request()
    sent.command.cover.correlation_id = "grün"

    async with grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(HANDLE)(sent.SerializeToString())

    trailers = dict(caught.value.trailing_metadata())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert trailers["angzarr-error-kind"] == "invalid_input"
    assert "correlation_id" in trailers["angzarr-error-field"]
    assert trailers["angzarr-error-limit"]
    assert trailers["angzarr-error-value"] == "gr%C3%BCn"


@pytest.mark.spec("WIRE-12", "WIRE-13", "CMD-26")
async def test_source_is_the_headers_and_component_and_index_the_metadatas(
    served: Served,
) -> None:
    source = wire.Cover(domain="table", root=wire.UUID(value=ROOT))
    header = wire.PageHeader(
        angzarr_deferred=wire.AngzarrDeferredSequence(source=source, source_seq=7)
    )

    def key(component: str, index: int, source_seq: int) -> bytes:
        other = wire.Provenance(source_seq=source_seq, component=component, index=index)
        return other.SerializeToString()

    answers = [
        await served.send(request(header=header), angzarr_provenance_bin=metadata)
        for metadata in (
            key("saga:a", 0, 1),
            key("saga:a", 0, 2),  # another source_seq, but the header's counts: the same output
            key("saga:a", 1, 1),
            key("saga:b", 0, 1),
        )
    ]

    sequences = [[page.header.sequence for page in a.events.pages] for a in answers]
    assert sequences == [[0], [0], [1], [2]]


@pytest.mark.spec("WIRE-12", "QRY-13")
async def test_raw_reading_is_denied_unless_it_is_allowed(served: Served) -> None:
    cover = wire.Cover(domain="note", root=wire.UUID(value=ROOT))
    query = wire.Query(cover=cover).SerializeToString()

    async with grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(GET_EVENT_BOOK)(query, metadata=(("angzarr-raw", "1"),))

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert dict(caught.value.trailing_metadata())["angzarr-error-kind"]


@pytest.mark.spec("QRY-20", "QRY-21")
async def test_accepted_subscription_sees_the_next_command(served: Served) -> None:
    wanted = wire.EventStreamFilter(correlation_id="c-1").SerializeToString()
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.unary_stream(SUBSCRIBE)(wanted)
        await call.initial_metadata()

        await served.send(request())
        book = wire.EventBook.FromString(await call.read())

        assert [page.header.sequence for page in book.pages] == [0]
        assert book.cover.correlation_id == "c-1"
        call.cancel()


async def test_concurrent_calls_on_one_connection_all_end(served: Served) -> None:
    sent = [request(merge_strategy=wire.MERGE_AGGREGATE_HANDLES) for _ in range(32)]

    answers = await asyncio.gather(*(served.send(item) for item in sent))

    sequences = sorted(page.header.sequence for a in answers for page in a.events.pages)
    assert sequences == list(range(32))
