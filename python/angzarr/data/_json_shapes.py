"""What the fields of a dataclass hold once it is JSON: the shapes at the end of a path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

import msgspec
from msgspec import inspect

Shape = Literal["int", "uint", "float", "bool", "text", "decimal", "datetime", "none", "other"]

_SHAPES: Final[tuple[tuple[type[inspect.Type], Shape], ...]] = (
    (inspect.BoolType, "bool"),
    (inspect.IntType, "int"),
    (inspect.FloatType, "float"),
    (inspect.DecimalType, "decimal"),
    (inspect.DateTimeType, "datetime"),
    (inspect.StrType, "text"),
    (inspect.BytesType, "text"),
    (inspect.ByteArrayType, "text"),
    (inspect.MemoryViewType, "text"),
    (inspect.DateType, "text"),
    (inspect.TimeType, "text"),
    (inspect.TimeDeltaType, "text"),
    (inspect.UUIDType, "text"),
    (inspect.NoneType, "none"),
)

UNSET: Final = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Leaf:
    """The end of a path.

    shapes: what can be there. default: what decoding gives where the field is absent, UNSET where
    that is nothing or can't be told from the null that it may hold.
    """

    shapes: frozenset[Shape]
    default: object = UNSET


class NoSuchField(Exception):
    """known: the fields that there are where the path ends to lead on."""

    def __init__(self, known: tuple[str, ...]) -> None:
        super().__init__()
        self.known = known


def leaf_of(cls: type, path: tuple[str, ...]) -> tuple[tuple[str, ...], Leaf]:
    """The JSON keys and the end of `path` in instances of `cls`. Raises NoSuchField."""
    keys: list[str] = []
    types: list[inspect.Type] = [inspect.type_info(cls)]
    default: object = UNSET
    for name in path:
        found = [member for kind in types for member in _members(kind, name)]
        if not found:
            raise NoSuchField(tuple(dict.fromkeys(n for kind in types for n in _names(kind))))
        key, _, default = found[0]
        keys.append(key)
        types = [kind for _, kind, _ in found]
    shapes = frozenset[Shape](shape for kind in types for shape in _shapes(kind))
    if isinstance(default, Enum):
        default = default.value
    if len(path) > 1 or "none" in shapes or not isinstance(default, bool | int | float | str):
        default = UNSET
    return tuple(keys), Leaf(shapes - {"none"}, default)


def paths_of(cls: type) -> tuple[str, ...]:
    """Names of the fields of `cls`."""
    return _names(inspect.type_info(cls))


def _members(kind: inspect.Type, name: str) -> Iterator[tuple[str, inspect.Type, object]]:
    """(JSON key, type, default) of the field `name` in values of `kind`."""
    for one in _alternatives(kind):
        if isinstance(one, inspect.DictType):
            yield name, one.value_type, UNSET
        elif not getattr(one, "array_like", False):
            for field in _fields(one):
                if field.name == name:
                    yield field.encode_name, field.type, field.default


def _names(kind: inspect.Type) -> tuple[str, ...]:
    found = (field.name for one in _alternatives(kind) for field in _fields(one))
    return tuple(dict.fromkeys(found))


def _fields(kind: inspect.Type) -> tuple[inspect.Field, ...]:
    objects = (inspect.DataclassType, inspect.StructType, inspect.TypedDictType)
    return kind.fields if isinstance(kind, objects) else ()


def _alternatives(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _shapes(kind: inspect.Type) -> Iterator[Shape]:
    for one in _alternatives(kind):
        if isinstance(one, inspect.EnumType):
            for member in one.cls:
                yield _shape_of(member.value)
        elif isinstance(one, inspect.LiteralType):
            for value in one.values:
                yield _shape_of(value)
        else:
            yield _plain_shape(one)


def _plain_shape(kind: inspect.Type) -> Shape:
    for cls, shape in _SHAPES:
        if isinstance(kind, cls):
            return shape
    return "other"


def _shape_of(value: object) -> Shape:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "text" if isinstance(value, str) else "other"
