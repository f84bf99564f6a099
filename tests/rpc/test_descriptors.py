"""States by descriptor, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import any_pb2, descriptor_pb2
from google.protobuf.message import Message

from angzarr import errors, wire
from angzarr._wire import cloudevents_pb2, types_pb2
from angzarr.rpc.descriptors import Types, differing


def packed(message: Message) -> bytes:
    state = any_pb2.Any()
    state.Pack(message)
    return state.SerializeToString()


def files_of(module: object) -> list[bytes]:
    """The files of a generated module with what it needs, dependencies last."""
    waiting, found = [module.DESCRIPTOR], {}  # type: ignore[attr-defined]
    while waiting:
        file = waiting.pop()
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        found[file.name] = proto.SerializeToString()
        waiting += file.dependencies
    return list(found.values())


@pytest.fixture
def types() -> Types:
    types = Types()
    types.add(files_of(types_pb2), "test")
    types.add(files_of(cloudevents_pb2), "test")
    return types


@pytest.mark.spec("CMD-21")
def test_fields_that_differ_are_named(types: Types) -> None:
    before = wire.SequenceMismatchDetails(expected_sequence=1, actual_sequence=2)
    after = wire.SequenceMismatchDetails(expected_sequence=1, actual_sequence=3)

    assert types.diff(packed(before), packed(after)) == {"actual_sequence"}


@pytest.mark.spec("CMD-21")
def test_map_fields_differ_per_key(types: Types) -> None:
    before = wire.Notification(metadata={"a": "1", "b": "2", "c": "3"})
    after = wire.Notification(metadata={"a": "1", "b": "9", "d": "4"})

    assert types.diff(packed(before), packed(after)) == {
        "metadata[b]", "metadata[c]", "metadata[d]",
    }  # fmt: skip


@pytest.mark.spec("CMD-21")
def test_states_of_different_types_differ_in_everything(types: Types) -> None:
    assert types.diff(packed(wire.UUID()), packed(wire.Cover())) == {"*"}


@pytest.mark.spec("CMD-21", "CMD-22")
def test_empty_stream_is_compared_as_the_default_state(types: Types) -> None:
    assert types.diff(b"", packed(wire.Cover(domain="x"))) == {"domain"}
    assert types.diff(b"", b"") == frozenset()


@pytest.mark.spec("CMD-21")
def test_presence_of_a_field_counts(types: Types) -> None:
    before, after = wire.SequenceRange(lower=1), wire.SequenceRange(lower=1, upper=0)

    assert types.diff(packed(before), packed(after)) == {"upper"}


@pytest.mark.spec("CMD-22", "WIRE-6")
def test_prefix_of_the_type_url_is_never_compared(types: Types) -> None:
    one = any_pb2.Any(type_url="a.example/angzarr.UUID", value=b"").SerializeToString()
    two = any_pb2.Any(type_url="angzarr.UUID", value=b"").SerializeToString()

    assert types.diff(one, two) == frozenset()


def test_fields_that_the_descriptor_does_not_know_differ_in_everything() -> None:
    old = wire.UUID.FromString(b"\x78\x01")
    new = wire.UUID.FromString(b"\x78\x02")

    assert differing(old, new) == {"*"}


def test_unreadable_states_differ_in_everything(types: Types) -> None:
    broken = any_pb2.Any(type_url="x/angzarr.Cover", value=b"\xff").SerializeToString()

    assert types.diff(broken, packed(wire.Cover(domain="x"))) == {"*"}
    assert types.diff(b"\xff", b"") == {"*"}


@pytest.mark.spec("CMD-22")
def test_types_come_from_a_descriptor_set(tmp_path: Path) -> None:
    found = descriptor_pb2.FileDescriptorSet()
    for data in files_of(types_pb2):
        found.file.add().ParseFromString(data)
    path = tmp_path / "user.desc"
    path.write_bytes(found.SerializeToString())

    assert Types([str(path)]).knows("angzarr.Cover")


def test_missing_descriptor_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInput, match=r"nowhere\.desc"):
        Types([str(tmp_path / "nowhere.desc")])
