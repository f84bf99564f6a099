"""Fields of payloads without their classes: from JSON by keys, from protobuf by field numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import DecodeError, Message

from angzarr.ports.columns import FieldPath, FieldSpec

JSON_PREFIX: Final = "json.angzarr.io/"
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

ENCODINGS: Final[Mapping[str, int]] = {
    "varint": FieldDescriptorProto.TYPE_INT64,
    "zigzag": FieldDescriptorProto.TYPE_SINT64,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "sfixed32": FieldDescriptorProto.TYPE_SFIXED32,
    "sfixed64": FieldDescriptorProto.TYPE_SFIXED64,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "string": FieldDescriptorProto.TYPE_BYTES,
}
"""Bytes for strings, since one that is no UTF-8 would make the whole payload unreadable."""

Value = int | float | str
Extractor = Callable[[bytes], Value | None]
"""A payload's value; None where it has none."""


def extractors_of(fields: Sequence[FieldSpec], type_url: str) -> list[Extractor | None]:
    """What reads each field from payloads of a type; None for types without a path.

    Those of one type share what they have parsed: they have to be given a payload one after the
    other.
    """
    type_name = type_url.rpartition("/")[2]
    is_json = type_url.startswith(JSON_PREFIX)
    document = _Document()
    found: list[Extractor | None] = []
    for field in fields:
        path = next((path for path in field.paths if path.type_name == type_name), None)
        extractor: Extractor | None = None
        if path is not None and is_json and path.keys:
            extractor = document.at(path.keys, field.kind)
        elif path is not None and not is_json and path.numbers:
            extractor = _protobuf(path, field.kind)
        found.append(extractor)
    return found


def _as_int(value: object) -> int | None:
    return value if type(value) is int and INT_MIN <= value <= INT_MAX else None


def _as_float(value: object) -> float | None:
    if type(value) is float:
        return value
    try:
        return float(value) if type(value) is int else None
    except OverflowError:
        return None


def _as_bool(value: object) -> int | None:
    return int(value) if isinstance(value, bool) else None


def _as_text(value: object) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None


_CONVERSIONS: Final[Mapping[str, Callable[[object], Value | None]]] = {
    "int": _as_int,
    "float": _as_float,
    "bool": _as_bool,
    "text": _as_text,
    "payload": lambda value: None,
}


class _Document:
    """The JSON document that was read last, by several extractors."""

    def __init__(self) -> None:
        self._payload: bytes | None = None
        self._parsed: Any = None

    def at(self, keys: tuple[str, ...], kind: str) -> Extractor:
        """Reads the value under `keys`."""
        convert = _CONVERSIONS[kind]

        def extract(payload: bytes) -> Value | None:
            if payload is not self._payload:
                self._read(payload)
            value = self._parsed
            for key in keys:
                if not isinstance(value, dict):
                    return None
                value = cast("dict[str, Any]", value).get(key)
            return convert(value)

        return extract

    def _read(self, payload: bytes) -> None:
        self._payload = payload
        try:
            self._parsed = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._parsed = None


def _protobuf(path: FieldPath, kind: str) -> Extractor:
    """Reads one field by a message that knows nothing else."""
    convert = _CONVERSIONS[kind]
    parse = _message(path.numbers, path.encoding).FromString
    depth = len(path.numbers) - 1

    def extract(payload: bytes) -> Value | None:
        try:
            message: Any = parse(payload)
        except DecodeError:
            return None
        for _ in range(depth):
            message = message.f
        return convert(message.f) if message.HasField("f") else None

    return extract


@lru_cache(maxsize=1024)
def _message(numbers: tuple[int, ...], encoding: str) -> type[Message]:
    """A message class with the one field, called `f` on each level."""
    file = FileDescriptorProto(name="scan.proto", package="scan", syntax="proto3")
    for level, number in enumerate(numbers):
        message: DescriptorProto = file.message_type.add(name=f"L{level}")
        field = message.field.add(name="f", number=number)
        field.label = FieldDescriptorProto.LABEL_OPTIONAL
        if level + 1 < len(numbers):
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".scan.L{level + 1}"
        else:
            field.type = ENCODINGS[encoding]
            field.proto3_optional = True
            field.oneof_index = 0
            message.oneof_decl.add(name="_f")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("scan.L0"))
