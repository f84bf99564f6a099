"""Where the fields of a protobuf message are on the wire: numbers and encodings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any as Untyped
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from angzarr.data._json_shapes import UNSET, Leaf, NoSuchField, Shape

TIMESTAMP: Final = "google.protobuf.Timestamp"
_F = FieldDescriptor

_ENCODINGS: Final[dict[int, tuple[str, Shape]]] = {
    _F.TYPE_INT32: ("varint", "int"),
    _F.TYPE_INT64: ("varint", "int"),
    _F.TYPE_UINT32: ("varint", "int"),
    _F.TYPE_UINT64: ("varint", "uint"),
    _F.TYPE_ENUM: ("varint", "int"),
    _F.TYPE_SINT32: ("zigzag", "int"),
    _F.TYPE_SINT64: ("zigzag", "int"),
    _F.TYPE_FIXED32: ("fixed32", "int"),
    _F.TYPE_FIXED64: ("fixed64", "uint"),
    _F.TYPE_SFIXED32: ("sfixed32", "int"),
    _F.TYPE_SFIXED64: ("sfixed64", "int"),
    _F.TYPE_FLOAT: ("float", "float"),
    _F.TYPE_DOUBLE: ("double", "float"),
    _F.TYPE_BOOL: ("bool", "bool"),
    _F.TYPE_STRING: ("string", "text"),
}


@dataclass(frozen=True, slots=True)
class WirePath:
    """Field numbers from the outside in, and the encoding of the last; "" for a Timestamp."""

    numbers: tuple[int, ...]
    encoding: str


def leaf_of(message: Untyped, path: tuple[str, ...]) -> tuple[WirePath, Leaf]:
    """The place and the end of `path` in messages of this type. Raises NoSuchField."""
    numbers: list[int] = []
    field: FieldDescriptor | None = None
    inside: Descriptor | None = message
    for name in path:
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None:
            raise NoSuchField(tuple(inside.fields_by_name) if inside is not None else ())
        numbers.append(field.number)
        inside = None if field.is_repeated else field.message_type
    assert field is not None
    if field.is_repeated:
        return WirePath(tuple(numbers), ""), Leaf(frozenset({"other"}))
    if inside is not None:
        shape: Shape = "datetime" if inside.full_name == TIMESTAMP else "other"
        return WirePath(tuple(numbers), ""), Leaf(frozenset({shape}))
    encoding, shape = _ENCODINGS.get(field.type, ("", "other"))
    default: object = UNSET if field.has_presence else field.default_value
    return WirePath(tuple(numbers), encoding), Leaf(frozenset({shape}), default)
