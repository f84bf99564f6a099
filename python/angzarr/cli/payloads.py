"""Payloads as people type and read them: JSON, whatever they are on the wire."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, cast

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import codec, wire
from angzarr.calls import Event
from angzarr.errors import InvalidInput

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

NS_DIGITS: Final = 9


class Payloads:
    """Packs and opens payloads. paths: descriptor sets of users' messages, separated as in PATH."""

    def __init__(self, paths: str = "") -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for path in filter(None, paths.split(os.pathsep)):
            self._add(Path(path))

    def pack(self, type_name: str, text: str, domain: str) -> Any:
        """The payload of a type as an Any; a name without a dot belongs to the domain.

        Raises InvalidInput for text that is no JSON object, or does not fit a known message.
        """
        name = type_name if "." in type_name else f"{domain}.{type_name}"
        value = parsed(text)
        if self._message(name) is None:
            return Any(type_url=codec.JSON_PREFIX + name, value=text.encode())
        return Any(type_url=codec.PROTOBUF_PREFIX + name, value=self._encoded(name, value))

    def repack(self, packed: Any, value: Json) -> Any:
        """Another value of the type that `packed` has.

        Raises InvalidInput for a value that is no JSON object, does not fit the message, or a
        message that is not known.
        """
        if not isinstance(value, dict):
            raise InvalidInput("json", "a JSON object", compact(value))
        if packed.type_url.startswith(codec.JSON_PREFIX):
            return Any(type_url=packed.type_url, value=compact(value).encode())
        name = codec.full_name(packed.type_url)
        return Any(type_url=packed.type_url, value=self._encoded(name, value))

    def open(self, packed: Any) -> Json:
        """The payload as JSON; {"base64": …} where its type is not known."""
        if packed.type_url.startswith(codec.JSON_PREFIX):
            try:
                return cast("Json", json.loads(packed.value))
            except ValueError:
                return _bytes(packed)
        message = self._message(codec.full_name(packed.type_url)) or _imported(packed)
        if message is None:
            return _bytes(packed)
        try:
            message.ParseFromString(packed.value)
        except DecodeError:
            return _bytes(packed)
        try:
            return json_format.MessageToDict(message, preserving_proto_field_name=True)
        except TypeError:  # an Any inside has a type that protobuf can't find
            return self.plain(message)

    def plain(self, message: Message) -> dict[str, Json]:
        """The fields of a message that are set, its payloads opened: for angzarr's own messages,
        which have users' ones in them. Roots are in hex."""
        fields = cast("list[tuple[FieldDescriptor, object]]", message.ListFields())
        return {field.name: self._field(field, value) for field, value in fields}

    def can_open(self, packed: Any) -> bool:
        """Whether the type is known, so that `open` gives the fields."""
        is_json = packed.type_url.startswith(codec.JSON_PREFIX)
        return is_json or self._message(codec.full_name(packed.type_url)) is not None

    def _field(self, field: FieldDescriptor, value: object) -> Json:
        if isinstance(value, Mapping):
            items = cast("Mapping[object, object]", value).items()
            return {str(key): self._one(field, item) for key, item in items}
        if field.is_repeated:
            return [self._one(field, item) for item in cast("Iterable[object]", value)]
        return self._one(field, value)

    def _one(self, field: FieldDescriptor, value: object) -> Json:
        if isinstance(value, Any):
            return {"type": codec.full_name(value.type_url), "payload": self.open(value)}
        if isinstance(value, Timestamp):
            return value.ToJsonString()
        if isinstance(value, wire.UUID):
            return value.value.hex()
        if isinstance(value, Message):
            return self.plain(value)
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if field.enum_type is not None and isinstance(value, int):
            known = field.enum_type.values_by_number.get(value)
            return known.name if known else value
        return cast("Json", value)

    def _encoded(self, name: str, value: dict[str, Json]) -> bytes:
        message = self._message(name)
        if message is None:
            wanted = f"a type that --descriptors knows, to make {name} of JSON"
            raise InvalidInput("descriptors", wanted, name)
        try:
            json_format.ParseDict(value, message)
        except json_format.ParseError as error:
            text = compact(value)
            raise InvalidInput(name, "JSON of this message", text, f"{name}: {error}") from None
        return message.SerializeToString(deterministic=True)

    def row(self, event: Event) -> dict[str, Json]:
        """An event as one JSON object."""
        row: dict[str, Json] = {
            "domain": event.cover.domain,
            "root": event.cover.root.hex(),
            "sequence": event.sequence,
            "created_at": timestamp(event.page),
            "type": event.type_name,
            "payload": self.open(event.page.event),
        }
        if not event.cover.is_main:
            row["edition"] = event.cover.edition
        if event.is_pending:
            row["pending"] = event.page.cascade_id
        return row

    def _message(self, name: str) -> Message | None:
        try:
            descriptor = self._pool.FindMessageTypeByName(name)
        except KeyError:
            return None
        return message_factory.GetMessageClass(descriptor)()

    def _add(self, path: Path) -> None:
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
        except (OSError, DecodeError) as error:
            raise InvalidInput("descriptors", "a file with a FileDescriptorSet", path) from error
        try:
            for file in files:
                self._pool.Add(file)
        except TypeError as error:
            wanted = "a complete FileDescriptorSet (protoc --include_imports)"
            raise InvalidInput("descriptors", wanted, path) from error


def parsed(text: str) -> dict[str, Json]:
    """The JSON object in `text`; InvalidInput if it is none."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            "json", "a JSON object", text, f"not JSON: {error}; got {text!r}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput("json", "a JSON object", text)
    return cast("dict[str, Json]", value)


def read_json(text: str) -> str:
    """The text itself; `-` is what stdin holds."""
    return sys.stdin.read() if text == "-" else text


def timestamp(page: wire.EventPage) -> str:
    """The page's time in RFC 3339, with its nanoseconds."""
    return page.created_at.ToJsonString()


def compact(value: Json) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _imported(packed: Any) -> Message | None:
    """An empty message of a type that angzarr itself brings, such as NoOp."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(
            codec.full_name(packed.type_url)
        )
    except KeyError:
        return None
    return message_factory.GetMessageClass(descriptor)()


def _bytes(packed: Any) -> Json:
    return {"base64": base64.b64encode(packed.value).decode()}
