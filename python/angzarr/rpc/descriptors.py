"""What the states of remote handlers look like, and how two of them differ (CMD-21, CMD-22)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from angzarr.errors import InvalidInput

EVERYTHING: Final = frozenset({"*"})


class Types:
    """Message types by full name, from descriptor sets and from reflection; a pool of its own.

    paths: files that hold a FileDescriptorSet. Raises InvalidInput for one that doesn't.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self._classes: dict[str, type[Message] | None] = {}
        for path in paths:
            self.add(_read_set(path), path)

    def add(self, files: Iterable[bytes], origin: str) -> None:
        """Add encoded FileDescriptorProtos in any order; those that are here already stay."""
        waiting = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
        waiting = [file for file in waiting if not self._has_file(file.name)]
        while waiting:
            names = {file.name for file in waiting}
            ready = [file for file in waiting if not names.intersection(file.dependency)]
            for file in ready:
                try:
                    self._pool.Add(file)
                except TypeError as error:
                    raise InvalidInput("descriptor_path", "complete descriptors", origin) from error
            waiting = [file for file in waiting if file not in ready]
            if not ready:
                raise InvalidInput("descriptor_path", "files without a cycle", origin)
        self._classes.clear()

    def knows(self, name: str) -> bool:
        """Whether the message type `name`, a full name, is known."""
        return self._class(name) is not None

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        """Top-level fields that differ between two encoded `Any` states; {"*"} if it can't be told.

        b"" is the state of an empty stream: every field of the other's type at its default.
        """
        try:
            old, new = any_pb2.Any.FromString(before), any_pb2.Any.FromString(after)
        except DecodeError:
            return EVERYTHING
        names = {_full_name(state.type_url) for state in (old, new) if state.type_url}
        if len(names) > 1:
            return EVERYTHING
        if old.value == new.value:
            return frozenset()
        made = self._class(names.pop()) if names else None
        if made is None:
            return EVERYTHING
        try:
            return differing(made.FromString(old.value), made.FromString(new.value))
        except DecodeError:
            return EVERYTHING

    def _class(self, name: str) -> type[Message] | None:
        if name not in self._classes:
            try:
                found: Descriptor = self._pool.FindMessageTypeByName(name)
                self._classes[name] = message_factory.GetMessageClass(found)
            except KeyError:
                self._classes[name] = None
        return self._classes[name]

    def _has_file(self, name: str) -> bool:
        try:
            self._pool.FindFileByName(name)
        except KeyError:
            return False
        return True


def differing(old: Message, new: Message) -> frozenset[str]:
    """Names of the top-level fields whose values differ, `field[key]` for each key of a map field.

    {"*"} if only fields that the descriptor doesn't know differ.
    """
    found: set[str] = set()
    for field in new.DESCRIPTOR.fields:
        name = field.name
        left, right = getattr(old, name), getattr(new, name)
        if _is_map(field):
            keys = set(left) | set(right)
            found |= {
                f"{name}[{_key_text(key)}]"
                for key in keys
                if key not in left or key not in right or left[key] != right[key]
            }
        elif left != right or (field.has_presence and old.HasField(name) != new.HasField(name)):
            found.add(name)
    if found or _bytes(old) == _bytes(new):
        return frozenset(found)
    return EVERYTHING


def _is_map(descriptor: object) -> bool:
    field = cast("FieldDescriptor", descriptor)  # or upb's own, with the same face
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _key_text(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _full_name(type_url: str) -> str:
    return type_url.rpartition("/")[2]


def _read_set(path: str) -> list[bytes]:
    try:
        found = descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes())
    except (OSError, DecodeError) as error:
        raise InvalidInput("descriptor_path", "a readable FileDescriptorSet", path) from error
    return [file.SerializeToString() for file in found.file]
