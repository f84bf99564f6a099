"""Which fields a state has: eight hex digits in its type URL, `json.angzarr.io/1f0a2b3c/hand.Hand`.

A state that was encoded when its class, or one inside, had other fields is told apart by them.
Readers of types look at what follows the last `/` alone (WIRE-6).
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any as Untyped
from typing import Final, cast

import msgspec
from google.protobuf.descriptor import Descriptor

DIGITS: Final = 8
_IN_URL: Final = re.compile(rf"/([0-9a-f]{{{DIGITS}}})/[^/]*$")
_NAMES: Final = ("title", "description")
"""Of the schema's text members: renaming or describing a class changes no field."""


def of_struct(struct: type[Untyped]) -> str:
    """Of what msgspec encodes: names, types and defaults of fields, those inside as well."""
    (top,), inner = msgspec.json.schema_components((struct,), schema_hook=_opaque)
    inner["State"] = inner.pop(struct.__name__, top)  # its own name is in the type URL anyway
    return _digest(_without_names(inner))


def of_message(descriptor: Descriptor) -> str:
    """Of a message: numbers and types of fields, those of messages inside as well."""
    found: dict[str, object] = {}
    _walk(descriptor, found)
    return _digest(found)


def of_url(type_url: str) -> str:
    """The shape in a type URL; "" where there is none."""
    found = _IN_URL.search(type_url)
    return found.group(1) if found else ""


def _walk(descriptor: Descriptor, found: dict[str, object]) -> None:
    if descriptor.full_name in found:
        return
    found[descriptor.full_name] = [
        (field.number, field.type, field.is_repeated, _inner(field.message_type))
        for field in descriptor.fields
    ]
    for field in descriptor.fields:
        if field.message_type is not None:
            _walk(field.message_type, found)


def _opaque(kind: type[Untyped]) -> dict[str, Untyped]:
    """Of a type that msgspec has no schema for, its name has to do."""
    return {"type": f"{kind.__module__}.{kind.__qualname__}"}


def _inner(descriptor: Descriptor | None) -> str:
    return descriptor.full_name if descriptor else ""


def _without_names(schema: object) -> object:
    if isinstance(schema, dict):
        items = cast("dict[str, object]", schema).items()
        return {
            key: _without_names(value)
            for key, value in items
            if not (key in _NAMES and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_names(item) for item in cast("list[object]", schema)]
    return schema


def _digest(value: object) -> str:
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:DIGITS]
