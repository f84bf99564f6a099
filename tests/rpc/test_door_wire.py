"""The front door and peers that don't keep to HTTP/2 or gRPC, or say as little as they may."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from angzarr.ports.components import CallContext

Opened = Callable[..., Awaitable[Any]]
UNARY, STREAM, BOTH = (f"/test.Test/{kind}" for kind in ("unary", "stream", "both"))
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
END_STREAM, END_HEADERS = 0x1, 0x4


class Peer:
    """A client that sends what it is told to, and answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, address: str, start: bytes = b"") -> Peer:
        host, _, port = address.rpartition(":")
        peer = cls(*await asyncio.open_connection(host, int(port)))
        peer.writer.write(start or PREFACE + frame(SETTINGS, 0, 0, b""))
        return peer

    def call(self, stream: int, path: str, body: bytes | None, **headers: str) -> None:
        """Begin a call; end it, too, unless `body` is None."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "x",
            "content-type": "application/grpc",
            "te": "trailers",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        block = b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())
        self.writer.write(frame(HEADERS, END_HEADERS, stream, block))
        if body is not None:
            self.writer.write(frame(DATA, END_STREAM, stream, body))

    async def ended(self, stream: int) -> list[int]:
        """The kinds of the frames of the stream, once the server has ended it."""
        kinds: list[int] = []
        while True:
            kind, flags, found, _ = await self.read()
            if found == stream and kind != WINDOW_UPDATE:
                kinds.append(kind)
                if kind == RST_STREAM or flags & END_STREAM:
                    return kinds

    async def read(self) -> tuple[int, int, int, bytes]:
        head = await self.reader.readexactly(9)
        length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        stream = int.from_bytes(head[5:]) & 0x7FFFFFFF
        return kind, flags, stream, await self.reader.readexactly(length)

    async def closed(self) -> None:
        """Return when the server has ended the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionResetError:
            pass

    async def close(self) -> None:
        self.writer.close()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def text(value: str) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()


def message(payload: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(payload)) + payload


async def echo(request: bytes, _context: CallContext) -> bytes:
    return request


async def echoes(requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def is_served(served: Any) -> bool:
    return await served.channel.unary_unary(UNARY)(b"alive", timeout=10) == b"alive"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /test.Test/unary HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        PREFACE + frame(SETTINGS, 0, 0, b"odd"),
        PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, b"\xff" * 50),
        PREFACE + frame(SETTINGS, 0, 0, b"") + frame(DATA, 0, 0, b"of no stream"),
        *(random.Random(seed).randbytes(4096) for seed in range(3)),
    ],
    ids=["get", "post", "tls", "preface", "settings", "hpack", "data", *"123"],
)
async def test_garbage_ends_its_connection_and_no_other(opened: Opened, garbage: bytes) -> None:
    served = await opened(unary=echo)
    assert await is_served(served)
    peer = await Peer.connect(served.address, garbage)

    await peer.closed()

    assert await is_served(served)
    await peer.close()


async def test_connection_that_ends_within_its_first_words_is_forgotten(opened: Opened) -> None:
    served = await opened(unary=echo)

    for start in (b"P", PREFACE[:-1], PREFACE + b"\0\0"):
        peer = await Peer.connect(served.address, start)
        await peer.writer.drain()
        await peer.close()

    assert await is_served(served)


@pytest.mark.parametrize("path", [UNARY, BOTH])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (message(b"x", flag=2), {}),
        (message(b"x", flag=1), {}),
        (message(b"x", flag=1), {"grpc_encoding": "gzip"}),
        (message(b"xyz")[:-1], {}),
        (b"\0\0", {}),
        (message(b"") + b"\0", {}),
        (struct.pack(">BI", 0, 0xFFFFFFFF), {}),
        (message(b"x"), {"grpc_encoding": "snappy"}),
        (message(b"x"), {"grpc_timeout": "soon"}),
        (message(b"x"), {"any-bin": "!"}),
    ],
    ids=[
        "flag", "no encoding", "no gzip", "torn", "torn header", "torn second", "too long",
        "encoding", "timeout", "base64",
    ],
)  # fmt: skip
async def test_malformed_call_ends_and_its_connection_goes_on(
    opened: Opened, path: str, body: bytes, headers: dict[str, str]
) -> None:
    served = await opened(unary=echo, both=echoes)
    peer = await Peer.connect(served.address)

    peer.call(1, path, body, **headers)
    refused = await peer.ended(1)
    peer.call(3, UNARY, message(b"fine"))

    assert refused[-1] == HEADERS
    assert await peer.ended(3) == [HEADERS, DATA, HEADERS]
    await peer.close()


@pytest.mark.parametrize(
    "headers",
    [{"content_type": "application/json"}, {":method": "GET"}],
    ids=["content type", "verb"],
)
async def test_what_is_no_grpc_is_answered_without_a_call(
    opened: Opened, headers: dict[str, str]
) -> None:
    seen: list[bytes] = []

    async def note(request: bytes, _context: CallContext) -> bytes:
        seen.append(request)
        return request

    served = await opened(unary=note)
    peer = await Peer.connect(served.address)

    peer.call(1, UNARY, message(b"x"), **headers)

    assert await peer.ended(1) == [HEADERS]
    assert seen == []
    await peer.close()


async def test_message_in_frames_of_a_byte_is_put_together(opened: Opened) -> None:
    served = await opened(unary=echo)
    peer = await Peer.connect(served.address)
    peer.call(1, UNARY, None)

    for byte in message(b"bit by bit"):
        peer.writer.write(frame(DATA, 0, 1, bytes([byte])))
    peer.writer.write(frame(DATA, END_STREAM, 1, b""))

    assert await peer.ended(1) == [HEADERS, DATA, HEADERS]
    await peer.close()


@pytest.mark.parametrize("timeout", ["99999999H", "1M", "99999999n"])
async def test_any_deadline_to_come_is_waited_for(opened: Opened, timeout: str) -> None:
    served = await opened(unary=echo)
    peer = await Peer.connect(served.address)

    peer.call(1, UNARY, message(b"x"), grpc_timeout=timeout)

    assert await peer.ended(1) == [HEADERS, DATA, HEADERS]
    await peer.close()


async def test_passed_deadline_is_answered_where_the_client_says_nothing(opened: Opened) -> None:
    cancelled = asyncio.Event()

    async def hang(_request: bytes, _context: CallContext) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    served = await opened(unary=hang)
    peer = await Peer.connect(served.address)

    peer.call(1, UNARY, message(b""), grpc_timeout="1S")

    assert await peer.ended(1) == [HEADERS]
    await cancelled.wait()
    await peer.close()


async def test_deadline_passes_while_the_request_is_awaited(opened: Opened) -> None:
    served = await opened(unary=echo)
    peer = await Peer.connect(served.address)

    peer.call(1, UNARY, None, grpc_timeout="50m")

    assert await peer.ended(1) == [HEADERS]
    await peer.close()


async def test_deadline_passes_for_a_reader_that_takes_nothing(opened: Opened) -> None:
    closed = asyncio.Event()

    async def endless(_request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(10_000)
        finally:
            closed.set()

    served = await opened(stream=endless)
    peer = await Peer.connect(served.address)

    peer.call(1, STREAM, message(b""), grpc_timeout="1S")

    await closed.wait()
    await peer.close()


async def test_peer_that_never_takes_its_answers_does_not_stop_others(opened: Opened) -> None:
    made = 0

    async def endless(_request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield bytes(10_000)

    served = await opened(unary=echo, stream=endless)
    peer = await Peer.connect(served.address)
    peer.call(1, STREAM, message(b""))
    while True:  # until its window is full: 65,535 bytes, by default
        kind, _, stream, payload = await peer.read()
        if kind == DATA and stream == 1 and len(payload) < 10_005:
            break

    for _ in range(100):
        assert await is_served(served)

    assert made * 10_000 < 1_000_000
    await peer.close()


@pytest.mark.spec("OPS-3")
async def test_call_that_crosses_the_goaway_is_refused(opened: Opened) -> None:
    entered, hold = asyncio.Event(), asyncio.Event()
    seen: list[bytes] = []

    async def wait(request: bytes, _context: CallContext) -> bytes:
        seen.append(request)
        entered.set()
        await hold.wait()
        return request

    served = await opened(unary=wait, grace_s=20)
    peer = await Peer.connect(served.address)
    peer.call(1, UNARY, message(b"running"))
    await entered.wait()
    stopping = asyncio.ensure_future(served.server.stop())
    while (await peer.read())[0] != GOAWAY:
        pass

    peer.call(3, UNARY, message(b"late"))
    refused = await peer.ended(3)
    hold.set()

    assert refused == [HEADERS]
    assert seen == [b"running"]
    assert (await peer.ended(1))[-1] == HEADERS
    await stopping
    await peer.close()


@pytest.mark.spec("OPS-3")
@pytest.mark.parametrize("start", [b"P", PREFACE + frame(SETTINGS, 0, 0, b"")], ids=["half", "all"])
async def test_mute_connection_does_not_hold_up_a_stop(opened: Opened, start: bytes) -> None:
    served = await opened(unary=echo, grace_s=20)
    peer = await Peer.connect(served.address, start)
    await peer.writer.drain()
    assert await is_served(served)

    await asyncio.wait_for(served.server.stop(), 10)

    await peer.closed()
    await peer.close()


@pytest.mark.spec("OPS-3")
async def test_stopped_port_is_closed(opened: Opened) -> None:
    served = await opened(unary=echo)

    await served.server.stop()

    with pytest.raises(ConnectionRefusedError):
        await Peer.connect(served.address)
