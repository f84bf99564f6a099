"""Calls to the shop, each answer as text: what a client sees, but for times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from angzarr import calls, wire
from angzarr.cover import root_of
from angzarr.rpc.status import DETAILS

DEADLINE_S: Final = 60.0
"""Far more than any call needs."""

_NOT_OURS: Final = frozenset({"content-type", "grpc-encoding", "grpc-accept-encoding", "date"})


class Shop:
    """A client of the shop at an address, that lets it settle after each call.

    settled: returns when the shop has reacted to everything. answers: what each call was answered,
    by the name that it was given. made_up: texts that differ from run to run, with what is kept in
    their place.
    """

    def __init__(self, address: str, settled: Callable[[], Awaitable[None]]) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._settled = settled
        self.answers: dict[str, list[str]] = {}
        self.made_up: dict[str, str] = {}

    async def close(self) -> None:
        await self._channel.close()

    async def send(
        self,
        domain: str,
        name: str,
        command: Message,
        *,
        corr: str = "",
        edition: str = "",
        divergence: int | None = None,
        say: str = "",
        settles: bool = True,
        **options: Any,
    ) -> None:
        """A command, and what it leads to. options: as `calls.command_request` takes them."""
        mode = " ".join(str(options[key]) for key in ("sync_mode", "on_failure") if key in options)
        label = say or f"{type(command).__name__} {domain}/{name} {mode}".strip()
        cover = calls.Target(domain, edition, divergence).cover(name, corr)
        defaults: dict[str, Any] = {
            "expected_sequence": None,
            "merge": None,
            "idempotency": label,
            "sync_mode": "async",
            "on_failure": "fail_fast",
            "cascade_id": "",
        }
        request, metadata = calls.command_request(cover, command, **{**defaults, **options})
        path = calls.HANDLE_COMMAND
        await self.call(label, path, request, metadata, wire.CommandResponse, settles=settles)

    async def order(self, name: str, item: str, *, cents: int = 500, **more: Any) -> None:
        """Place an order, whose correlation id follows from its name."""
        from shop_messages import Place

        place = Place(item=item, shelf=root_of(item), cents=cents)
        await self.send("order", name, place, corr=f"c-{name}", **more)

    async def pay(self, name: str, **options: Any) -> None:
        """Pay an order."""
        from shop_messages import Pay

        await self.send("order", name, Pay(), corr=f"c-{name}", **options)

    async def call(
        self,
        label: str,
        path: str,
        request: bytes | Message,
        metadata: dict[str, str | bytes],
        answer: type[Message],
        *,
        is_stream: bool = False,
        settles: bool = True,
    ) -> None:
        """Any call, and what it leads to; without `settles` that is not waited for."""
        assert label not in self.answers, label
        data = request.SerializeToString() if isinstance(request, Message) else request
        pairs = tuple(metadata.items())
        said = list[str]()
        try:
            if is_stream:
                many = self._channel.unary_stream(path)
                async for part in many(data, timeout=DEADLINE_S, metadata=pairs):
                    said.append(shown(answer.FromString(part)))
            else:
                one = self._channel.unary_unary(path)
                found = answer.FromString(await one(data, timeout=DEADLINE_S, metadata=pairs))
                self._learn(found)
                said.append(shown(found))
        except grpc.aio.AioRpcError as error:
            said += failure(error)
        self.answers[label] = [self.plain(line) for line in said]
        if settles:
            await self._settled()

    async def settle(self) -> None:
        """Wait for what was not waited for."""
        await self._settled()

    def plain(self, text: str) -> str:
        """The text without what was made up in this run."""
        for made_up, name in self.made_up.items():
            text = text.replace(made_up, name)
        return text

    async def ask(self, path: str, request: bytes | Message, answer: type[Any]) -> Any:
        """A question whose answer is used, and not kept."""
        data = request.SerializeToString() if isinstance(request, Message) else request
        return answer.FromString(await self._channel.unary_unary(path)(data, timeout=DEADLINE_S))

    def _learn(self, answer: Any) -> None:
        """Ids of dead letters, and the correlation ids of their replays."""
        if isinstance(answer, wire.ListDeadLettersResponse):
            for number, entry in enumerate(reversed(answer.entries)):
                self.made_up[entry.id] = f"letter-{number}"
        if isinstance(answer, wire.ReplayDeadLetterResponse):
            self.made_up[answer.new_correlation_id] = f"replay-{len(self.made_up)}"


def failure(error: grpc.aio.AioRpcError) -> list[str]:
    """A failed call: code, text, and all that its trailers say."""
    said = [f"{error.code().name}: {error.details()}"]
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS:
            said.append(f"{key}: {shown(wire.EventBook.FromString(value))}")
        elif key not in _NOT_OURS:
            said.append(f"{key}: {value!r}")
    return said


def shown(message: Message) -> str:
    """The message without times, its payloads opened where their types are known."""
    copy = type(message)()
    copy.CopyFrom(message)
    _forget_times(copy)
    return f"{type(message).__name__} {_text(copy)}"


def _forget_times(message: Any) -> None:
    """Clear what differs from run to run, in payloads, too."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        opened = _opened(message)
        if opened is not None:
            _forget_times(opened)
            message.value = opened.SerializeToString(deterministic=True)
        return
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.message_type.full_name == "google.protobuf.Timestamp":
            message.ClearField(field.name)
            continue
        for item in value if field.is_repeated else (value,):
            _forget_times(item)


def _opened(packed: Any) -> Message | None:
    name = packed.type_url.rpartition("/")[2]
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
        return message_factory.GetMessageClass(descriptor).FromString(packed.value)
    except (KeyError, DecodeError):
        return None


def _text(message: Any) -> str:
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        opened = _opened(message)
        inner = message.value.hex() if opened is None else _text(opened)
        return f"<{message.type_url} {inner}>"
    parts: list[str] = []
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            parts.append(f"{field.name}={dict(sorted(value.items()))}")
            continue
        items = value if field.is_repeated else (value,)
        texts = [_text(i) if field.message_type else _plain(i) for i in items]
        parts.append(f"{field.name}={texts[0] if len(texts) == 1 else texts}")
    return "{" + " ".join(parts) + "}"


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
