"""Payload fields as columns: each kind, from JSON and from protobuf, present, absent, wrong."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import pytest
from google.protobuf.wrappers_pb2 import DoubleValue, Int64Value, StringValue

from angzarr import wire
from angzarr.ports.columns import FieldKind, FieldPath, FieldSpec
from angzarr.ports.event_store import EventStore
from angzarr.testing.columns import rows_of
from angzarr.testing.contracts.base import StoreContract
from angzarr.testing.pages import cover_of, page

ALICE = cover_of()
JSON_URL: Final = "json.angzarr.io/pkg.Happened"
PROTOBUF_URL: Final = "type.googleapis.com/pkg.Happened"

JSON_VALUES: Final[list[tuple[str, FieldKind, object]]] = [
    ("7", "int", 7),
    ("0", "int", 0),
    ("-7", "int", -7),
    (str(2**63 - 1), "int", 2**63 - 1),
    (str(-(2**63)), "int", -(2**63)),
    (str(2**63), "int", None),
    (str(-(2**63) - 1), "int", None),
    (str(10**30), "int", None),
    ("7.0", "int", None),
    ("7e0", "int", None),
    ("true", "int", None),
    ('"7"', "int", None),
    ("null", "int", None),
    ("[7]", "int", None),
    ('{"x": 7}', "int", None),
    ("1.5", "float", 1.5),
    ("-1.5e-3", "float", -0.0015),
    ("1E3", "float", 1000.0),
    ("7", "float", 7.0),
    ("0", "float", 0.0),
    (str(2**53 + 1), "float", float(2**53)),
    (str(10**30), "float", 1e30),
    ("true", "float", None),
    ('"1.5"', "float", None),
    ("null", "float", None),
    ("true", "bool", True),
    ("false", "bool", False),
    ("1", "bool", None),
    ('"true"', "bool", None),
    ("null", "bool", None),
    ('"text"', "text", "text"),
    ('""', "text", ""),
    ('"é ☃ 🂡"', "text", "é ☃ 🂡"),
    (r'"\"\\\/\b\f\n\r\t \u00e9 \u2603 \ud83c\udca1"', "text", '"\\/\b\f\n\r\t é ☃ 🂡'),
    ("7", "text", None),
    ("null", "text", None),
    ('["text"]', "text", None),
]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


def varint(value: int) -> bytes:
    """As protobuf has it; a negative number as 64 bits of two's complement."""
    left, encoded = value % 2**64, bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*encoded, left])


def tagged(number: int, wire_type: int, data: bytes) -> bytes:
    """A field; of wire type BYTES with its length."""
    size = varint(len(data)) if wire_type == BYTES else b""
    return varint(number << 3 | wire_type) + size + data


PROTOBUF_VALUES: Final[list[tuple[str, int, bytes, FieldKind, object]]] = [
    ("varint", VARINT, varint(7), "int", 7),
    ("varint", VARINT, varint(0), "int", 0),
    ("varint", VARINT, varint(-7), "int", -7),
    ("varint", VARINT, varint(2**63 - 1), "int", 2**63 - 1),
    ("zigzag", VARINT, varint(13), "int", -7),
    ("zigzag", VARINT, varint(2**64 - 1), "int", -(2**63)),
    ("fixed32", FIXED32, struct.pack("<I", 2**32 - 1), "int", 2**32 - 1),
    ("sfixed32", FIXED32, struct.pack("<i", -7), "int", -7),
    ("fixed64", FIXED64, struct.pack("<Q", 2**63 - 1), "int", 2**63 - 1),
    ("fixed64", FIXED64, struct.pack("<Q", 2**63), "int", None),
    ("sfixed64", FIXED64, struct.pack("<q", -(2**63)), "int", -(2**63)),
    ("varint", VARINT, varint(-7), "float", -7.0),
    ("zigzag", VARINT, varint(13), "float", -7.0),
    ("fixed64", FIXED64, struct.pack("<Q", 2**63), "float", 2.0**63),
    ("float", FIXED32, struct.pack("<f", 1.5), "float", 1.5),
    ("double", FIXED64, struct.pack("<d", -1.5e300), "float", -1.5e300),
    ("double", FIXED64, struct.pack("<d", float("inf")), "float", float("inf")),
    ("float", FIXED32, struct.pack("<f", 1.0), "int", None),
    ("double", FIXED64, struct.pack("<d", 1.0), "int", None),
    ("bool", VARINT, varint(1), "bool", True),
    ("bool", VARINT, varint(0), "bool", False),
    ("bool", VARINT, varint(1), "int", None),
    ("bool", VARINT, varint(1), "float", None),
    ("varint", VARINT, varint(1), "bool", None),
    ("string", BYTES, "é ☃ 🂡".encode(), "text", "é ☃ 🂡"),
    ("string", BYTES, b"", "text", ""),
    ("string", BYTES, b"7", "int", None),
    ("string", BYTES, b"\xff\xfe", "text", None),
    ("varint", VARINT, varint(7), "text", None),
    ("varint", BYTES, varint(7), "int", None),
    ("varint", FIXED32, struct.pack("<I", 7), "int", None),
    ("fixed32", FIXED64, struct.pack("<Q", 7), "int", None),
    ("double", FIXED32, struct.pack("<f", 1.5), "float", None),
    ("string", VARINT, varint(7), "text", None),
]


async def values(
    events: EventStore, specs: list[FieldSpec], payloads: list[tuple[str, bytes]]
) -> list[tuple[object, ...]]:
    """Append pages with these type URLs and payloads; the fields of their rows."""
    made = [page(n, type_url=url, value=data) for n, (url, data) in enumerate(payloads)]
    await events.append(ALICE, 0, made)
    return [row.fields for row in rows_of(await events.scan(0, fields=specs))]


def json_field(kind: FieldKind, *keys: str, type_name: str = "pkg.Happened") -> FieldSpec:
    return FieldSpec("x", kind, (FieldPath(type_name, keys),))


def number_field(kind: FieldKind, encoding: str, *numbers: int) -> FieldSpec:
    return FieldSpec("x", kind, (FieldPath("pkg.Happened", (), numbers, encoding),))


class ScanFieldContract(StoreContract):
    """Claims about the fields of `scan`."""

    @pytest.mark.spec("STO-17")
    async def test_values_of_json_are_read_by_kind(self, events: EventStore) -> None:
        for n, (text, kind, wanted) in enumerate(JSON_VALUES):
            data = f'{{"a": [1, {{"x": 5}}], "x": {text}, "z": "end"}}'.encode()
            made = page(n, type_url=JSON_URL, value=data)
            await events.append(ALICE, n, [made])

            [row] = rows_of(await events.scan(n, fields=[json_field(kind, "x")]))

            assert row.fields == (wanted,), (text, kind)
            assert type(row.fields[0]) is type(wanted)

    @pytest.mark.spec("STO-17")
    async def test_values_of_protobuf_are_read_by_encoding(self, events: EventStore) -> None:
        around = tagged(1, BYTES, b"before"), tagged(300, FIXED64, bytes(8))
        for n, (encoding, wire_type, data, kind, wanted) in enumerate(PROTOBUF_VALUES):
            payload = around[0] + tagged(20, wire_type, data) + around[1]
            await events.append(ALICE, n, [page(n, type_url=PROTOBUF_URL, value=payload)])

            [row] = rows_of(await events.scan(n, fields=[number_field(kind, encoding, 20)]))

            assert row.fields == (wanted,), (encoding, kind, data)
            assert type(row.fields[0]) is type(wanted)

    @pytest.mark.spec("STO-17")
    async def test_messages_that_protobuf_wrote_are_read(self, events: EventStore) -> None:
        book = wire.EventBook(next_sequence=9)
        book.cover.domain = "order"
        payloads = [
            Int64Value(value=-5).SerializeToString(),
            StringValue(value="text").SerializeToString(),
            DoubleValue(value=2.5).SerializeToString(),
            book.SerializeToString(),
        ]
        specs = [
            number_field("int", "varint", 1),
            number_field("text", "string", 1),
            number_field("float", "double", 1),
            number_field("text", "string", 1, 2),
            number_field("int", "varint", 6),
        ]

        found = await values(events, specs, [(PROTOBUF_URL, data) for data in payloads])

        assert [row[:3] for row in found[:3]] == [
            (-5, None, None),
            (None, "text", None),
            (None, None, 2.5),
        ]
        assert found[3][3:] == ("order", 9)

    @pytest.mark.spec("STO-17")
    async def test_an_absent_field_has_no_value(self, events: EventStore) -> None:
        specs = [json_field("int", "x"), number_field("int", "varint", 2)]

        found = await values(
            events,
            specs,
            [(JSON_URL, b'{"y": 1}'), (JSON_URL, b"{}"), (PROTOBUF_URL, b""), (JSON_URL, b"")],
        )

        assert found == [(None, None)] * 4

    @pytest.mark.spec("STO-17")
    async def test_nested_keys_are_followed(self, events: EventStore) -> None:
        spec = json_field("int", "a", "b", "c")
        documents: list[Any] = [
            {"a": {"b": {"c": 3}, "c": 1}, "b": {"c": 2}, "c": 4},
            {"a": {"c": {"b": 3}}},
            {"a": {"b": 7}},
            {"a": [{"b": {"c": 3}}]},
            {"a": None},
            {"x": {"a": {"b": {"c": 3}}}},
            {"a": {"b": {"c": 5}}},
        ]

        found = await values(
            events, [spec], [(JSON_URL, json.dumps(item).encode()) for item in documents]
        )

        assert found == [(3,), (None,), (None,), (None,), (None,), (None,), (5,)]

    @pytest.mark.spec("STO-17")
    async def test_nested_numbers_are_followed(self, events: EventStore) -> None:
        inner = tagged(2, VARINT, varint(3))
        middle = tagged(1, BYTES, inner) + tagged(2, VARINT, varint(4))
        payloads = [
            tagged(7, BYTES, middle),
            tagged(7, BYTES, tagged(1, BYTES, b"")),
            tagged(7, BYTES, b""),
            tagged(7, VARINT, varint(3)),
            tagged(8, BYTES, middle),
        ]

        found = await values(
            events,
            [number_field("int", "varint", 7, 1, 2)],
            [(PROTOBUF_URL, data) for data in payloads],
        )

        assert found == [(3,), (None,), (None,), (None,), (None,)]

    @pytest.mark.spec("STO-17")
    async def test_of_a_number_that_comes_again_the_last_counts(self, events: EventStore) -> None:
        def one(value: int) -> bytes:
            return tagged(1, VARINT, varint(value))

        specs = [number_field("int", "varint", 1), number_field("int", "varint", 2, 1)]
        payloads = [
            one(3) + tagged(9, BYTES, one(8)) + one(4),
            tagged(2, BYTES, one(5)) + tagged(2, BYTES, one(6)),
            tagged(2, BYTES, one(5)) + tagged(2, BYTES, b""),
        ]

        found = await values(events, specs, [(PROTOBUF_URL, data) for data in payloads])

        assert found == [(4, None), (None, 6), (None, 5)]

    @pytest.mark.spec("STO-17")
    async def test_keys_are_compared_as_they_are_meant(self, events: EventStore) -> None:
        spec = json_field("int", 'sn"ow ☃')

        found = await values(
            events,
            [spec],
            [(JSON_URL, rb'{"sn\"ow \u2603": 1}'), (JSON_URL, '{"sn\\"ow ☃": 2}'.encode())],
        )

        assert found == [(1,), (2,)]

    @pytest.mark.spec("STO-17")
    async def test_a_type_is_read_by_its_own_path(self, events: EventStore) -> None:
        paths = (FieldPath("pkg.Happened", ("x",)), FieldPath("pkg.Other", ("y",)))
        other = "json.angzarr.io/pkg.Other"

        found = await values(
            events,
            [FieldSpec("x", "int", paths)],
            [
                (JSON_URL, b'{"x": 1, "y": 2}'),
                (other, b'{"x": 1, "y": 2}'),
                ("json.angzarr.io/Happened", b'{"x": 1, "y": 2}'),
            ],
        )

        assert found == [(1,), (2,), (None,)]

    @pytest.mark.spec("STO-17")
    async def test_a_path_of_both_is_read_by_the_payloads_prefix(self, events: EventStore) -> None:
        path = FieldPath("pkg.Happened", ("x",), (1,), "varint")
        data = tagged(1, VARINT, varint(5))

        found = await values(
            events,
            [FieldSpec("x", "int", (path,))],
            [(JSON_URL, b'{"x": 4}'), (PROTOBUF_URL, data), ("other.io/pkg.Happened", data)],
        )

        assert found == [(4,), (5,), (5,)]

    @pytest.mark.spec("STO-17")
    async def test_a_path_of_the_other_format_has_no_value(self, events: EventStore) -> None:
        specs = [json_field("int", "x"), number_field("int", "varint", 1)]
        data = tagged(1, VARINT, varint(5))

        found = await values(events, specs, [(JSON_URL, data), (PROTOBUF_URL, b'{"x": 4}')])

        assert found == [(None, None), (None, None)]

    @pytest.mark.spec("STO-17")
    async def test_payloads_that_do_not_parse_have_no_value(self, events: EventStore) -> None:
        specs = [json_field("int", "x"), number_field("int", "varint", 1)]
        garbage = [b"\xff", b"\xff" * 30, b'"x"', b"[1]", b"nul", b"7", b'{"x"', b'{"x": ']

        found = await values(
            events, specs, [(url, data) for url in (JSON_URL, PROTOBUF_URL) for data in garbage]
        )

        assert found == [(None, None)] * (2 * len(garbage))

    @pytest.mark.spec("STO-17")
    async def test_payloads_come_whole_whatever_their_type(self, events: EventStore) -> None:
        payloads = [(JSON_URL, b'{"x": 1}'), (PROTOBUF_URL, b""), ("t/other.Type", bytes(range(9)))]

        found = await values(events, [FieldSpec("payload", "payload")], payloads)

        assert found == [(data,) for _, data in payloads]

    @pytest.mark.spec("STO-17")
    async def test_a_page_without_an_event_has_no_payload(self, events: EventStore) -> None:
        await events.append(ALICE, 0, [b"\x0a\x02\x08\x00", page(1, value=b"x")])

        columns = await events.scan(0, fields=[FieldSpec("payload", "payload")])

        assert [row.fields for row in rows_of(columns)] == [(None,), (b"x",)]

    @pytest.mark.spec("STO-17")
    async def test_texts_are_in_a_vocabulary_once(self, events: EventStore) -> None:
        payloads = [(JSON_URL, b'{"x": "%s"}' % text) for text in (b"a", b"b", b"a", b"", b"b")]

        found = await values(events, [json_field("text", "x")], payloads)

        [column] = (await events.scan(0, fields=[json_field("text", "x")])).fields
        assert found == [("a",), ("b",), ("a",), ("",), ("b",)]
        assert sorted(column.vocabulary) == ["", "a", "b"]

    @pytest.mark.spec("STO-17")
    async def test_columns_come_in_the_order_they_were_asked_in(self, events: EventStore) -> None:
        kinds: list[FieldKind] = ["text", "payload", "int", "bool", "float", "int"]
        specs = [FieldSpec(f"c{n}", kind) for n, kind in enumerate(kinds)]

        columns = await events.scan(0, fields=specs)

        assert [(field.name, field.kind) for field in columns.fields] == [
            (spec.name, spec.kind) for spec in specs
        ]

    @pytest.mark.spec("STO-17")
    async def test_many_fields_of_one_payload_are_read(self, events: EventStore) -> None:
        document = {f"k{n}": n for n in range(20)}
        encoded = b"".join(tagged(n + 1, VARINT, varint(n)) for n in range(20))
        specs = [
            FieldSpec(f"c{n}", "int", (FieldPath("pkg.Happened", (f"k{n}",), (n + 1,), "varint"),))
            for n in reversed(range(20))
        ]

        found = await values(
            events, specs, [(JSON_URL, json.dumps(document).encode()), (PROTOBUF_URL, encoded)]
        )

        assert found == [tuple(reversed(range(20)))] * 2

    @pytest.mark.spec("STO-17")
    async def test_values_stand_in_the_rows_of_their_pages(self, events: EventStore) -> None:
        """Rows without values before, between and after those with one."""
        given = [None, 1, None, None, 2, 3, None]
        payloads = [(JSON_URL, b"{}" if n is None else b'{"x": %d}' % n) for n in given]

        assert await values(events, [json_field("int", "x")], payloads) == [(n,) for n in given]

    @pytest.mark.spec("STO-17")
    async def test_revoked_pages_give_no_values(self, events: EventStore) -> None:
        made = [page(0, type_url=JSON_URL, value=b'{"x": "gone"}', cascade_id="casc-1")]
        await events.append(ALICE, 0, made, cascade_id="casc-1")
        await events.decide_cascade("casc-1", "ROLLBACK")
        await events.resolve_cascade(ALICE, "casc-1")
        await events.append(ALICE, 2, [page(2, type_url=JSON_URL, value=b'{"x": "here"}')])

        columns = await events.scan(0, fields=[json_field("text", "x")])

        assert [row.fields for row in rows_of(columns)] == [("here",)]
        assert columns.fields[0].vocabulary == ["here"]
