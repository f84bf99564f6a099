"""Payloads and their bytes: dataclasses as JSON, protobuf messages as they are.

    payload ── pack ──▶ Any{type_url, value} ── unpack ──▶ payload

A dataclass is JSON under `json.angzarr.io/<domain>.<ClassName>`; a class that sets
`__type_name__ = "full.name"` keeps that name whatever becomes of the class's own. Fields are
matched by name: unknown ones are ignored, a missing one takes its default. A protobuf message is
`type.googleapis.com/<full name>`. Readers go by the full name after the last `/`, never by the
prefix (WIRE-6).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any as Untyped
from typing import ClassVar, Final, Generic, Protocol, TypeVar, cast

import msgspec
from google.protobuf import json_format, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor_pool import Default as default_pool
from google.protobuf.message import DecodeError, Message

from angzarr.errors import CorruptData, InvalidInput

JSON_PREFIX: Final = "json.angzarr.io/"
PROTOBUF_PREFIX: Final = "type.googleapis.com/"
TYPE_NAME_ATTRIBUTE: Final = "__type_name__"

DECODE_ERRORS: Final = (msgspec.MsgspecError, DecodeError, UnicodeDecodeError)
"""What a payload type's `decode` raises for bytes that are not its own."""

TYPES_CACHED_MAX: Final = 4096
_TYPE_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_]\w*)*", re.ASCII)


class DataclassInstance(Protocol):
    """Any instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Untyped]]]


Payload = DataclassInstance | Message
"""A command, an event or a state: an instance of a dataclass, or a protobuf message."""

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, slots=True)
class PayloadType(Generic[P]):
    """How one class travels.

    name: the full name. encode, decode: payload ⇄ bytes; decode raises one of DECODE_ERRORS.
    """

    cls: type[P]
    name: str
    type_url: str
    is_json: bool
    encode: Callable[[P], bytes]
    decode: Callable[[bytes], P]

    def read_event(self, value: bytes, where: str) -> P:
        """The stored payload in `value`. Raises CorruptData, naming `where`, if it is no such."""
        try:
            return self.decode(value)
        except DECODE_ERRORS as error:
            raise unreadable(self.name, where, error) from error

    def read_command(self, value: bytes) -> P:
        """The sent payload in `value`. Raises InvalidInput, naming the field, if it is no such."""
        try:
            return self.decode(value)
        except DECODE_ERRORS as error:
            raise refused(self.name, value, error) from error


def full_name(type_url: str) -> str:
    """The type's full name: what follows the last `/`, or all of it (WIRE-6)."""
    return type_url[type_url.rfind("/") + 1 :]


def encode(payload: Payload, domain: str) -> tuple[str, bytes]:
    """Type URL and bytes of `payload`; a dataclass is named in `domain`.

    Raises TypeError if it is neither a dataclass nor a message, or holds what has no JSON form.
    """
    kind = payload_type(type(payload), domain)
    return kind.type_url, kind.encode(payload)


def pack(payload: Payload, domain: str) -> Any:
    """`payload` as an Any. Raises TypeError as `encode` does."""
    type_url, value = encode(payload, domain)
    return Any(type_url=type_url, value=value)


def unpack(packed: Any, cls: type[P], domain: str) -> P:
    """The payload of class `cls` in `packed`. Raises CorruptData if it holds anything else."""
    kind = payload_type(cls, domain)
    found = full_name(packed.type_url)
    if found != kind.name:
        raise CorruptData(f"a payload of {domain}", found or "no type", kind.name)
    return kind.read_event(packed.value, f"a payload of {domain}")


def payload_type(cls: type[P], domain: str) -> PayloadType[P]:
    """How instances of `cls` travel in `domain`.

    Raises TypeError, naming class and field, if `cls` is neither a dataclass nor a message, or has
    no JSON form.
    """
    return cast("PayloadType[P]", _payload_type(cls, domain))


def plain(type_url: str, value: bytes) -> object | None:
    """The payload as dicts, lists and scalars, to be shown; None where its type is not known here.

    JSON payloads need no class; messages need their descriptors imported. Raises CorruptData if it
    does not parse.
    """
    name = full_name(type_url)
    try:
        if type_url.startswith(JSON_PREFIX):
            return msgspec.json.decode(value)
        try:
            descriptor = default_pool().FindMessageTypeByName(name)
        except KeyError:
            return None
        message = message_factory.GetMessageClass(descriptor).FromString(value)
        return json_format.MessageToDict(message, preserving_proto_field_name=True)
    except DECODE_ERRORS as error:
        raise unreadable(name, "a payload", error) from error


def unreadable(name: str, where: str, error: Exception) -> CorruptData:
    """The error for stored bytes at `where` that do not parse as `name`."""
    return CorruptData(where, f"bytes that do not parse ({error})", name)


def refused(name: str, value: bytes, error: Exception) -> InvalidInput:
    """The error for sent bytes that do not parse as `name`, with the field that msgspec names."""
    path = re.findall(r"at `\$\.?([^`]+)`", str(error)) + re.findall(r"field `([^`]+)`", str(error))
    field = ".".join([name, *path])
    shown = value.decode("utf-8", "backslashreplace")
    return InvalidInput(field, str(error), shown, f"{name} does not parse: {error}")


def require_json(hint: object, owner: str) -> None:
    """Raise TypeError, naming `owner`, if values annotated with `hint` have no JSON form."""
    try:
        info = msgspec.inspect.type_info(hint)
    except NameError as error:
        raise TypeError(
            f"{owner} names {error.name!r}, unknown at run time; define it at module level"
        ) from error
    except Exception as error:
        raise TypeError(f"{owner} has no JSON form: {error}") from error
    for path, found in _custom_types(info, owner, set()):
        raise TypeError(f"{path} has type {_shown(found)}, which has no JSON form")


@lru_cache(maxsize=TYPES_CACHED_MAX)
def _payload_type(cls: type[Untyped], domain: str) -> PayloadType[Untyped]:
    if issubclass(cls, Message):
        name = cls.DESCRIPTOR.full_name
        return PayloadType(cls, name, PROTOBUF_PREFIX + name, False, _serialize, cls.FromString)
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{_shown(cls)} is neither a dataclass nor a protobuf message")
    name = type_name(cls, domain)
    require_json(cls, cls.__qualname__)
    try:
        decode = msgspec.json.Decoder(cls).decode
    except TypeError as error:
        raise TypeError(f"{cls.__qualname__} has no JSON form: {error}") from error
    return PayloadType(cls, name, JSON_PREFIX + name, True, msgspec.json.encode, decode)


def type_name(cls: type, domain: str) -> str:
    """A dataclass's full name: its `__type_name__`, else `<domain>.<ClassName>`."""
    name = cls.__dict__.get(TYPE_NAME_ATTRIBUTE, f"{domain}.{cls.__name__}")
    if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
        raise TypeError(f"{cls.__qualname__}.{TYPE_NAME_ATTRIBUTE} is {name!r}, not a dotted name")
    return name


def _serialize(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


_INNER: Final = ("item_type", "key_type", "value_type")


def _custom_types(info: Untyped, path: str, seen: set[int]) -> Iterator[tuple[str, object]]:
    """Where in a type msgspec would need a hook, so that it is told when the class is made."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        yield path, info.cls
    for field in getattr(info, "fields", ()):
        yield from _custom_types(field.type, f"{path}.{field.name}", seen)
    for inner in (*getattr(info, "types", ()), *getattr(info, "item_types", ())):
        yield from _custom_types(inner, path, seen)
    for attribute in _INNER:
        if hasattr(info, attribute):
            yield from _custom_types(getattr(info, attribute), path, seen)


def _shown(cls: object) -> str:
    return getattr(cls, "__qualname__", None) or repr(cls)
