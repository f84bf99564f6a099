"""Names, numbers and types: ours, the specification's and the published client's."""

from __future__ import annotations

import base64
import importlib
import json
import pathlib
import pkgutil
import re
import subprocess

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

import angzarr._wire

pytestmark = pytest.mark.timeout(300)  # the first run makes the client's environment

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = (ROOT / "docs" / "spec" / "wire.md").read_text()
ADDITIONS = {
    f"angzarr/{name}.proto"
    for name in (
        "admin",
        "dlq",
        "edition",
        "history",
        "provenance",
        "reaction",
        "speculation",
        "store",
        "timer",
    )
}
ADDED = " *(addition)*"
F = descriptor_pb2.FieldDescriptorProto
WIDENED = {"SagaHandleRequest", "ProcessManagerHandleRequest"}


def our_files() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    found = {}
    for info in pkgutil.iter_modules(angzarr._wire.__path__):
        module = importlib.import_module(f"angzarr._wire.{info.name}")
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        found[file.name] = file
    return found


OURS = our_files()


@pytest.fixture(scope="module")
def theirs(peer: pathlib.Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    script = pathlib.Path(__file__).with_name("populate.py")
    done = subprocess.run([peer, script], capture_output=True, text=True, check=True)
    files = json.loads(done.stdout)["files"]
    parsed = [descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(f)) for f in files]
    return {file.name: file for file in parsed}


def fields_of(message: descriptor_pb2.DescriptorProto) -> list[tuple[object, ...]]:
    """Everything about a message's fields that is on the wire or in its API, by number."""
    found = []
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        kind = field.type_name or F.Type.Name(field.type)
        found.append(
            (field.number, field.name, kind, field.label, oneof, field.proto3_optional)
        )  # fmt: skip
    return sorted(found)


def map_types(message: descriptor_pb2.DescriptorProto) -> dict[str, tuple[int, ...]]:
    return {
        nested.name: tuple(field.type for field in nested.field)
        for nested in message.nested_type
        if nested.options.map_entry
    }


@pytest.mark.spec("WIRE-1")
@pytest.mark.parametrize("name", sorted(OURS))
def test_file_is_of_package_angzarr_and_in_its_folder(name: str) -> None:
    assert re.fullmatch(r"angzarr/\w+\.proto", name)
    assert OURS[name].package == "angzarr"


@pytest.mark.spec("WIRE-1", "WIRE-2")
def test_files_are_the_clients_and_the_additions(
    theirs: dict[str, descriptor_pb2.FileDescriptorProto],
) -> None:
    assert set(OURS) - set(theirs) == ADDITIONS
    assert set(theirs) <= set(OURS)


@pytest.mark.spec("WIRE-2")
@pytest.mark.parametrize("name", sorted(set(OURS) - ADDITIONS))
def test_messages_have_the_clients_names_numbers_and_types(
    theirs: dict[str, descriptor_pb2.FileDescriptorProto], name: str
) -> None:
    ours = {message.name: fields_of(message) for message in OURS[name].message_type}
    added = added_fields()

    found = {message.name: fields_of(message) for message in theirs[name].message_type}
    assert found == {
        message: [field for field in fields if (message, field[1]) not in added]
        for message, fields in ours.items()
    }


@pytest.mark.spec("WIRE-2", "WIRE-3")
@pytest.mark.parametrize("name", sorted(set(OURS) - ADDITIONS))
def test_maps_have_the_clients_types_but_for_wider_destination_sequences(
    theirs: dict[str, descriptor_pb2.FileDescriptorProto], name: str
) -> None:
    ours = {message.name: map_types(message) for message in OURS[name].message_type}
    found = {message.name: map_types(message) for message in theirs[name].message_type}

    for message in WIDENED & set(ours):
        assert ours.pop(message) == {"DestinationSequencesEntry": (F.TYPE_STRING, F.TYPE_UINT64)}
        assert found.pop(message) == {"DestinationSequencesEntry": (F.TYPE_STRING, F.TYPE_UINT32)}
    assert ours == found


@pytest.mark.spec("WIRE-2")
@pytest.mark.parametrize("name", sorted(set(OURS) - ADDITIONS))
def test_enums_have_the_clients_names_and_numbers(
    theirs: dict[str, descriptor_pb2.FileDescriptorProto], name: str
) -> None:
    def enums(file: descriptor_pb2.FileDescriptorProto) -> dict[str, list[tuple[str, int]]]:
        return {e.name: [(v.name, v.number) for v in e.value] for e in file.enum_type}

    assert enums(OURS[name]) == enums(theirs[name])


@pytest.mark.spec("WIRE-1", "WIRE-2")
@pytest.mark.parametrize("name", sorted(set(OURS) - ADDITIONS))
def test_services_have_the_clients_methods(
    theirs: dict[str, descriptor_pb2.FileDescriptorProto], name: str
) -> None:
    assert services_of(OURS[name]) == services_of(theirs[name])


def services_of(file: descriptor_pb2.FileDescriptorProto) -> dict[str, list[tuple[object, ...]]]:
    return {
        service.name: [
            (m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
            for m in service.method
        ]
        for service in file.service
    }


def listed_messages() -> dict[str, list[str]]:
    """Messages of the specification: name → its fields as they are written there."""
    found = {}
    for name, text in re.findall(r"^- \*\*(\w+)\*\*: (.*(?:\n  .*)*)", SPEC, re.M):
        fields = " ".join(text.split())
        found[name] = [] if fields == "(no fields)" else fields.split("; ")
    return found


def added_fields() -> set[tuple[str, str]]:
    """Message and name of the fields that are marked as additions to the client's messages."""
    return {
        (message, line.split()[1].rstrip(":"))
        for message, lines in listed_messages().items()
        for line in lines
        if line.endswith(ADDED)
    }


def written(message: descriptor_pb2.DescriptorProto) -> list[str]:
    """A message in the specification's notation."""
    entries = {nested.name: nested.field for nested in message.nested_type}
    lines = []
    for field in sorted(message.field, key=lambda field: field.number):
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry:
            kind = f"map<{plain(entry[0])},{plain(entry[1])}>"
        elif field.label == F.LABEL_REPEATED:
            kind = f"repeated {plain(field)}"
        else:
            kind = f"optional {plain(field)}" if field.proto3_optional else plain(field)
        is_member = field.HasField("oneof_index") and not field.proto3_optional
        member = f" ⟨{message.oneof_decl[field.oneof_index].name}⟩" if is_member else ""
        lines.append(f"{field.number} {field.name}: {kind}{member}")
    return lines


def plain(field: descriptor_pb2.FieldDescriptorProto) -> str:
    return field.type_name.rpartition(".")[2] or F.Type.Name(field.type)[5:].lower()


@pytest.mark.spec("WIRE-2")
def test_messages_are_those_of_the_specification() -> None:
    ours = {
        message.name: written(message) for file in OURS.values() for message in file.message_type
    }

    assert ours == {
        name: [line.removesuffix(ADDED) for line in lines]
        for name, lines in listed_messages().items()
    }


@pytest.mark.spec("WIRE-2")
def test_enums_are_those_of_the_specification() -> None:
    listed = {
        name: dict(re.findall(r"(\w+)=(\d+)", text))
        for name, text in re.findall(r"^- enum \*\*(\w+)\*\*: (.*)", SPEC, re.M)
    }

    assert listed == {
        enum.name: {value.name: str(value.number) for value in enum.value}
        for file in OURS.values()
        for enum in file.enum_type
    }


@pytest.mark.spec("WIRE-1")
def test_methods_and_routes_are_those_of_the_specification() -> None:
    rows = re.findall(
        r"^\| (\w+Service)[^|]* \| (\w+) \| ([\w ]+) \| ([\w ]+) \| ([^|]+?) \|$", SPEC, re.M
    )
    ours = []
    for file in OURS.values():
        for service in file.service:
            for method in service.method:
                asked, answered = plain_name(method.input_type), plain_name(method.output_type)
                if method.client_streaming:
                    asked = f"stream {asked}"
                if method.server_streaming:
                    answered = f"stream {answered}"
                ours.append((service.name, method.name, asked, answered, route(method)))

    assert sorted(ours) == sorted(rows)


def plain_name(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def route(method: descriptor_pb2.MethodDescriptorProto) -> str:
    if not method.options.HasExtension(annotations_pb2.http):
        return "—"
    http = method.options.Extensions[annotations_pb2.http]
    verb = http.WhichOneof("pattern")
    assert http.body == ("*" if verb == "post" else "")
    return f"{verb.upper()} `{getattr(http, verb)}`"
