"""An aggregate's state as bytes, and what differs between two states (CMD-21).

The state is the class's annotated fields, as JSON under the class's type name; or, where the only
field is a protobuf message, that message. The type URL says which fields there were (`shapes`).
Fields that start with `_` are caches: they start at their defaults, are not encoded and not
compared.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any as Untyped
from typing import Final, Protocol, cast

import msgspec
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from angzarr import codec
from angzarr.errors import CorruptData
from angzarr.handlers import shapes

ALL_FIELDS: Final = frozenset({"*"})
_MISSING: Final = object()


class StateCodec(Protocol):
    """State objects of one aggregate ⇄ their bytes."""

    name: str
    shape: str
    type_url: str

    def encode(self, state: object) -> bytes:
        """Raises TypeError, naming the field, if a field holds what its annotation excludes."""
        ...

    def decode(self, value: bytes) -> object:
        """Raises one of codec.DECODE_ERRORS."""
        ...

    def diff(self, before: object, after: object) -> frozenset[str]:
        """Names of the top-level fields that differ; `field[key]` for a map's."""
        ...


def make_fields(cls: type, hints: Mapping[str, object]) -> None:
    """Turn the annotated attributes of `cls` into dataclass fields, each with a default.

    A default is copied for each instance unless it can't change. Raises TypeError, naming the
    field, if one has none: an empty stream has a state too.
    """
    for name, hint in hints.items():
        if name not in inspect.get_annotations(cls):
            continue
        if name in vars(cls):
            setattr(cls, name, _per_instance(vars(cls)[name]))
        elif is_message(hint):
            setattr(
                cls, name, dataclasses.field(default_factory=cast("Callable[[], object]", hint))
            )
        else:
            raise TypeError(f"{cls.__name__}.{name} needs a default: the state of an empty stream")
    dataclasses.dataclass(cls)


def state_codec(cls: type, domain: str, hints: Mapping[str, object]) -> StateCodec:
    """The codec for states of `cls`. Raises TypeError, naming the field that can't travel."""
    public = {name: hint for name, hint in hints.items() if not name.startswith("_")}
    messages = [name for name, hint in public.items() if is_message(hint)]
    if not messages:
        return JsonState(cls, domain, public)
    if len(public) > 1:
        raise TypeError(
            f"{cls.__name__}.{messages[0]} is a protobuf message; such a state is the only field"
        )
    return MessageState(cls, messages[0], cast("type[Message]", public[messages[0]]))


def is_message(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Message)


class JsonState:
    """States as JSON objects."""

    def __init__(self, cls: type, domain: str, hints: Mapping[str, object]) -> None:
        self.name = codec.type_name(cls, domain)
        self._cls = cls
        self._names = tuple(hints)
        for name, hint in hints.items():
            try:
                codec.require_json(hint, f"{cls.__name__}.{name}")
            except TypeError as error:
                raise TypeError(f"{error}; a cache's name starts with _") from error
        fields = [(name, hint, _shape_default(cls, name)) for name, hint in hints.items()]
        self._shape: Untyped = msgspec.defstruct(cls.__name__, fields)
        self._decoder: msgspec.json.Decoder[Untyped] = msgspec.json.Decoder(self._shape)
        self.shape = shapes.of_struct(self._shape)
        self.type_url = f"{codec.JSON_PREFIX}{self.shape}/{self.name}"

    def encode(self, state: object) -> bytes:
        value = msgspec.json.encode(self._shape(*[getattr(state, name) for name in self._names]))
        try:
            self._decoder.decode(value)
        except msgspec.MsgspecError as error:
            raise TypeError(f"state {self.name} can't be read back: {error}") from error
        return value

    def decode(self, value: bytes) -> object:
        shape = self._decoder.decode(value)
        return self._cls(**{name: getattr(shape, name) for name in self._names})

    def diff(self, before: object, after: object) -> frozenset[str]:
        found: set[str] = set()
        for name in self._names:
            found |= _differing(name, getattr(before, name), getattr(after, name))
        return frozenset(found)


class MessageState:
    """States that are one protobuf message."""

    def __init__(self, cls: type, field: str, message: type[Message]) -> None:
        self.name = message.DESCRIPTOR.full_name
        self.shape = shapes.of_message(cast("Descriptor", message.DESCRIPTOR))
        self.type_url = f"{codec.PROTOBUF_PREFIX}{self.shape}/{self.name}"
        self._cls = cls
        self._field = field
        self._message = message

    def encode(self, state: object) -> bytes:
        return getattr(state, self._field).SerializeToString(deterministic=True)

    def decode(self, value: bytes) -> object:
        return self._cls(**{self._field: self._message.FromString(value)})

    def diff(self, before: object, after: object) -> frozenset[str]:
        return diff_messages(getattr(before, self._field), getattr(after, self._field))


def read_state(states: StateCodec, packed: Any, where: str) -> object:
    """The state in `packed`. Raises CorruptData, naming `where`, if it is no such state, or one
    that the class encoded when it had other fields: a field that was added since would be at its
    default, whatever the events say of it.
    """
    name = codec.full_name(packed.type_url)
    if name != states.name:
        raise CorruptData(where, name or "no type", states.name)
    shape = shapes.of_url(packed.type_url)
    if shape not in ("", states.shape):
        raise CorruptData(where, f"{name} with other fields", states.name)
    try:
        return states.decode(packed.value)
    except codec.DECODE_ERRORS as error:
        raise codec.unreadable(states.name, where, error) from error


def diff_states(states: StateCodec, before: bytes, after: bytes, empty: object) -> frozenset[str]:
    """Fields that differ between two encoded Any states, {"*"} where that can't be told.

    empty: the state that b"" stands for.
    """
    read: list[object] = []
    for encoded in (before, after):
        if not encoded:
            read.append(empty)
            continue
        try:
            read.append(read_state(states, Any.FromString(encoded), "a state"))
        except (CorruptData, DecodeError):
            return ALL_FIELDS
    return states.diff(*read)


def diff_messages(before: Message, after: Message) -> frozenset[str]:
    """Top-level fields that differ between two messages, maps per key; {"*"} for two types."""
    if before.DESCRIPTOR.full_name != after.DESCRIPTOR.full_name:
        return ALL_FIELDS
    found: set[str] = set()
    for field in before.DESCRIPTOR.fields:
        name = field.name
        old: Untyped = getattr(before, name)
        new: Untyped = getattr(after, name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found |= _differing(name, dict(old), dict(new))
        elif old != new or (field.has_presence and before.HasField(name) != after.HasField(name)):
            found.add(name)
    if not found and _bytes(before) != _bytes(after):
        return ALL_FIELDS  # they differ in fields that this descriptor does not know
    return frozenset(found)


def _differing(name: str, old: object, new: object) -> set[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("dict[object, object]", old), cast("dict[object, object]", new)
        return {
            f"{name}[{key.value if isinstance(key, Enum) else key}]"
            for key in before.keys() | after.keys()
            if not _equal(before.get(key, _MISSING), after.get(key, _MISSING))
        }
    return set() if _equal(old, new) else {name}


def _equal(old: Untyped, new: Untyped) -> bool:
    """Equal values of one type: True is not 1, and 1.0 is not 1."""
    return bool(type(old) is type(new) and old == new)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _per_instance(default: object) -> object:
    if isinstance(default, dataclasses.Field) or _is_constant(default):
        return cast("object", default)
    return dataclasses.field(default_factory=partial(copy.deepcopy, default))


def _is_constant(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_constant, cast("tuple[object, ...]", value)))
    return value is None or isinstance(value, (bool, int, float, str, bytes, Enum))


def _shape_default(cls: type, name: str) -> object:
    declared: dict[str, Untyped] = vars(cls)["__dataclass_fields__"]
    field = declared[name]
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is dataclasses.MISSING:
        raise TypeError(f"{cls.__name__}.{name} needs a default: the state of an empty stream")
    return msgspec.field(default_factory=field.default_factory)
