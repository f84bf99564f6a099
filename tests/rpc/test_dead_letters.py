"""DlqAdminService over a server: its name in health and reflection, methods, codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from angzarr import errors, wire
from angzarr.app import App
from angzarr.handlers import Aggregate, applies, command
from angzarr.reacting import Reacting
from angzarr.rpc import status
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.serving import serve

SERVICE = "angzarr.DlqAdminService"
M = TypeVar("M", bound=Message)


class Note(Aggregate, domain="note"):
    """Keeps the newest text."""

    text: str = ""

    @command(merge="manual")
    def write(self, cmd: wrappers_pb2.StringValue) -> wrappers_pb2.BytesValue:
        return wrappers_pb2.BytesValue(value=cmd.value.encode())

    @applies
    def written(self, event: wrappers_pb2.BytesValue) -> None:
        self.text = event.value.decode()


class Consumers:
    """Takes dead events."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []

    async def redeliver(self, component: str, book: bytes) -> None:
        self.taken.append((component, book))


@dataclass
class Served:
    app: App
    transport: GrpcTransport
    consumers: Consumers

    async def call(self, method: str, request: Message, answer: type[M]) -> M:
        data = await self.transport.unary(f"/{SERVICE}/{method}", request.SerializeToString())
        return answer.FromString(data)

    async def park(self, text: str = "hi") -> str:
        with pytest.raises(errors.SequenceMismatch):
            await self.app.domain(Note).send(
                "a", wrappers_pb2.StringValue(value=text), expected_sequence=7
            )
        return (await self.app.stores.dead_letters.list(limit=1))[0].id


@pytest.fixture
async def served(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """An app with a server; the parameter, if any, is its configuration."""
    config: dict[str, Any] = getattr(request, "param", {})
    async with App(Note, store="memory://", config=config) as app:
        parts = app._running()
        consumers = Consumers()
        monkeypatch.setattr(
            Reacting, "redeliver", lambda _, component, book: consumers.redeliver(component, book)
        )
        server = await serve(parts, port=0)
        transport = GrpcTransport(server.addresses[0])
        yield Served(app, transport, consumers)
        await transport.close()
        await server.stop(0)


@pytest.mark.spec("DLQ-7", "OPS-1", "DEP-13")
async def test_the_service_has_its_name_in_health(served: Served) -> None:
    request = health_pb2.HealthCheckRequest(service=SERVICE).SerializeToString()

    answer = await served.transport.unary("/grpc.health.v1.Health/Check", request)

    found = health_pb2.HealthCheckResponse.FromString(answer)
    assert found.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.spec("OPS-4")
async def test_reflection_lists_the_service_with_its_methods(served: Served) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
    method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

    [answer] = [
        reflection_pb2.ServerReflectionResponse.FromString(data)
        async for data in served.transport.stream(method, request.SerializeToString())
    ]

    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    [service] = [s for file in files for s in file.service if s.name == "DlqAdminService"]
    assert [m.name for m in service.method] == ["List", "Get", "Delete", "Replay", "Redeliver"]


@pytest.mark.spec("DLQ-7", "DLQ-8")
async def test_a_letter_is_listed_read_replayed_and_deleted(served: Served) -> None:
    letter_id = await served.park()

    listed = await served.call("List", wire.ListDeadLettersRequest(), wire.ListDeadLettersResponse)
    replayed = await served.call(
        "Replay", wire.ReplayDeadLetterRequest(id=letter_id), wire.ReplayDeadLetterResponse
    )
    read = await served.call("Get", wire.GetDeadLetterRequest(id=letter_id), wire.DeadLetterEntry)
    deleted = await served.call(
        "Delete", wire.DeleteDeadLetterRequest(id=letter_id), wire.DeleteDeadLetterResponse
    )

    assert [entry.id for entry in listed.entries] == [letter_id]
    assert len(replayed.response.events.pages) == 1
    assert read.replay_count == 1
    assert deleted.existed
    assert (await served.app.domain(Note).state("a")).text == "hi"


@pytest.mark.spec("DLQ-8", "DLQ-10")
async def test_dead_events_go_to_the_consumers_of_the_process(served: Served) -> None:
    letter = wire.AngzarrDeadLetter(source_component="saga:shipping")
    letter.rejected_events.next_sequence = 1
    letter_id = await served.app.stores.dead_letters.put(letter.SerializeToString())

    answer = await served.call(
        "Redeliver", wire.RedeliverDeadLetterRequest(id=letter_id), wire.RedeliverDeadLetterResponse
    )

    assert answer.component == "saga:shipping"
    assert served.consumers.taken == [("saga:shipping", letter.rejected_events.SerializeToString())]


@pytest.mark.spec("DLQ-7", "DLQ-8", "WIRE-11")
@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("List", wire.ListDeadLettersRequest(filter='root = "x"'), "INVALID_ARGUMENT"),
        ("Get", wire.GetDeadLetterRequest(id="nobody"), "NOT_FOUND"),
        ("Replay", wire.ReplayDeadLetterRequest(id="nobody"), "NOT_FOUND"),
        ("Replay", wire.ReplayDeadLetterRequest(id="events"), "FAILED_PRECONDITION"),
        ("Redeliver", wire.RedeliverDeadLetterRequest(id="command"), "FAILED_PRECONDITION"),
    ],
)
async def test_what_is_refused_has_its_code(
    served: Served, method: str, request_: Any, code: str
) -> None:
    letter = wire.AngzarrDeadLetter(rejected_events=wire.EventBook())
    ids = {
        "events": await served.app.stores.dead_letters.put(letter.SerializeToString()),
        "command": await served.park(),
    }
    if "id" in request_.DESCRIPTOR.fields_by_name:
        request_.id = ids.get(request_.id, request_.id)

    with pytest.raises(errors.AngzarrError) as refused:
        await served.call(method, request_, wire.DeadLetterEntry)

    assert status.status_of(refused.value).code.name == code


@pytest.mark.spec("DLQ-7")
@pytest.mark.parametrize(
    "served", [{"dlq.targets": [{"type": "logging"}, {"type": "channel"}]}], indirect=True
)
@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("List", wire.ListDeadLettersRequest()),
        ("Get", wire.GetDeadLetterRequest(id="x")),
        ("Delete", wire.DeleteDeadLetterRequest(id="x")),
        ("Replay", wire.ReplayDeadLetterRequest(id="x")),
        ("Redeliver", wire.RedeliverDeadLetterRequest(id="x")),
    ],
)
async def test_without_a_readable_target_every_method_names_the_configured_types(
    served: Served, method: str, request_: Message
) -> None:
    with pytest.raises(errors.DeadLetterRefused, match=r"logging, channel") as refused:
        await served.call(method, request_, wire.DeadLetterEntry)

    assert status.status_of(refused.value).code.name == "FAILED_PRECONDITION"


@pytest.mark.spec("DLQ-7", "WIRE-14")
@pytest.mark.parametrize("served", [{"server.message_size_kb": 64}], indirect=True)
async def test_a_list_fits_into_the_servers_messages(served: Served) -> None:
    for _ in range(4):
        await served.park("x" * 20_000)

    found, token = 0, ""
    while True:
        request = wire.ListDeadLettersRequest(page_token=token)
        page = await served.call("List", request, wire.ListDeadLettersResponse)
        found, token = found + len(page.entries), page.next_page_token
        if not token:
            break

    assert found == 4


@pytest.mark.spec("DLQ-7", "DEP-10")
async def test_a_process_without_aggregates_still_shows_letters() -> None:
    async with App(Note, store="memory://", select="query:events") as app:
        server = await app.serve(port=0)
        transport = GrpcTransport(server.addresses[0])
        letter = wire.AngzarrDeadLetter(rejected_command=wire.CommandBook())
        letter_id = await app.stores.dead_letters.put(letter.SerializeToString())

        entry = wire.GetDeadLetterRequest(id=letter_id).SerializeToString()
        assert await transport.unary(f"/{SERVICE}/Get", entry)
        replay = wire.ReplayDeadLetterRequest(id=letter_id).SerializeToString()
        with pytest.raises(errors.DeadLetterRefused, match="no commands are handled"):
            await transport.unary(f"/{SERVICE}/Replay", replay)
        await transport.close()
        await server.stop(0)
