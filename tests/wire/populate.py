"""Fill messages in every field, by their descriptors; runs here and beside the published client.

As a script it prints JSON: the peer's descriptor files, and its messages in every variant. With an
argument, a file of such messages as we wrote them again, it prints the names of those that it does
not read as its own.
"""

from __future__ import annotations

import base64
import importlib
import json
import pkgutil
import sys

from google.protobuf import descriptor_pb2

DEPTH_MAX = 3
"""How deep messages in messages are filled; every type is filled at the top, too."""
PACKAGE = "angzarr"
ADDITIONS = {"angzarr.TemporalQuery.as_of_position"}
"""Fields of ours in the client's messages; they are left out, so that both fill alike."""

D = descriptor_pb2.FieldDescriptorProto


def is_repeated(field) -> bool:
    known = getattr(field, "is_repeated", None)
    return field.label == D.LABEL_REPEATED if known is None else known


def fill(message, variant: int, depth: int = DEPTH_MAX):
    """Set every field; of a oneof the member that `variant` counts to. Below `depth` flat ones."""
    descriptor = message.DESCRIPTOR
    chosen = set()
    for oneof in descriptor.oneofs:
        members = [field.name for field in oneof.fields if field.full_name not in ADDITIONS]
        chosen.add(members[variant % len(members)])
    for field in descriptor.fields:
        if field.containing_oneof is not None and field.name not in chosen:
            continue
        set_field(message, field, variant, depth)
    return message


def set_field(message, field, variant: int, depth: int) -> None:
    target = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        for index in range(2):
            target[scalar(key, index)] = scalar(value, index)
    elif is_repeated(field):
        for index in range(2):
            if field.message_type is None:
                target.append(scalar(field, index))
            elif depth:
                fill(target.add(), variant, depth - 1)
    elif field.message_type is not None:
        target.SetInParent()
        if depth:
            fill(target, variant, depth - 1)
    else:
        setattr(message, field.name, scalar(field, variant))


def scalar(field, index: int):
    """A value that is not the default, near the edge of its type, another one for each index."""
    if field.type == D.TYPE_STRING:
        return f"{field.name} grün {index}"
    if field.type == D.TYPE_BYTES:
        return bytes([0, 255, index, *range(13)])
    if field.type == D.TYPE_BOOL:
        return True
    if field.type == D.TYPE_ENUM:
        return field.enum_type.values[-1 - index % 2].number
    if field.type in (D.TYPE_DOUBLE, D.TYPE_FLOAT):
        return 0.5 + index
    if field.type == D.TYPE_UINT64 and field.name != "value":
        return 2**64 - 1 - index
    if field.type in (D.TYPE_INT64, D.TYPE_SINT64):
        return 253402300799 - index  # the last second that a Timestamp can hold
    if field.type == D.TYPE_INT32:
        return 999_999_999 - index  # the last nanosecond
    return 2**32 - 1 - index  # uint32, and the sequences in a map that is uint64 on one side


def variants(message_class) -> int:
    """How many variants reach every member of every oneof, those of nested messages included."""
    found, todo, seen = 1, [message_class.DESCRIPTOR], set()
    while todo:
        descriptor = todo.pop()
        if descriptor.full_name in seen:
            continue
        seen.add(descriptor.full_name)
        found = max([found, *(len(oneof.fields) for oneof in descriptor.oneofs)])
        todo += [
            field.message_type for field in descriptor.fields if field.message_type is not None
        ]
    return found


def messages_of(modules) -> dict:
    """Message classes by full name, nested ones too, without those of maps."""
    found = {}
    for module in modules:
        for name in module.DESCRIPTOR.message_types_by_name:
            add_class(found, getattr(module, name))
    return found


def add_class(found: dict, message_class) -> None:
    found[message_class.DESCRIPTOR.full_name] = message_class
    for nested in message_class.DESCRIPTOR.nested_types:
        if not nested.GetOptions().map_entry:
            add_class(found, getattr(message_class, nested.name))


def dump(message) -> str:
    return base64.b64encode(message.SerializeToString(deterministic=True)).decode()


def peer_modules() -> list:
    """Every generated module of the published client whose package is `angzarr`."""
    import angzarr_client.proto.angzarr as package

    names = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name.endswith("_pb2")]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in sorted(names)]
    return [module for module in modules if module.DESCRIPTOR.package == PACKAGE]


def main() -> None:
    modules = peer_modules()
    classes = messages_of(modules)
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            written = json.load(file)
        refused = []
        for name, items in written.items():
            for variant, data in enumerate(items):
                message = classes[name]()
                message.ParseFromString(base64.b64decode(data))
                if message != fill(classes[name](), variant):
                    refused.append(f"{name}#{variant}")
        json.dump(refused, sys.stdout)
        return
    files = []
    for module in modules:
        proto = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(proto)
        files.append(base64.b64encode(proto.SerializeToString()).decode())
    messages = {
        name: [dump(fill(made(), variant)) for variant in range(variants(made))]
        for name, made in classes.items()
    }
    json.dump({"files": files, "messages": messages}, sys.stdout)


if __name__ == "__main__":
    main()
