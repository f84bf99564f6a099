"""Payloads as JSON, whatever they are on the wire."""

import base64
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.cli.payloads import Payloads
from angzarr.errors import InvalidInput


@pytest.fixture
def descriptors(tmp_path: Path) -> str:
    """A descriptor set with `shop.v1.Order {string id = 1;}`."""
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop.v1", syntax="proto3")
    field = file.message_type.add(name="Order").field.add(name="id", number=1)
    field.type, field.label = field.TYPE_STRING, field.LABEL_OPTIONAL
    path = tmp_path / "shop.pb"
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    return str(path)


def test_a_dataclass_travels_as_the_json_that_was_typed() -> None:
    packed = Payloads().pack("Deposit", '{"amount_cents": 5}', "account")

    assert (packed.type_url, packed.value) == (
        "json.angzarr.io/account.Deposit",
        b'{"amount_cents": 5}',
    )


def test_a_message_of_a_descriptor_set_travels_as_protobuf(descriptors: str) -> None:
    packed = Payloads(descriptors).pack("shop.v1.Order", '{"id": "a"}', "order")

    assert (packed.type_url, packed.value) == ("type.googleapis.com/shop.v1.Order", b"\n\x01a")


def test_a_message_of_a_descriptor_set_is_shown_as_json(descriptors: str) -> None:
    packed = Any(type_url="type.googleapis.com/shop.v1.Order", value=b"\n\x01a")

    assert Payloads(descriptors).open(packed) == {"id": "a"}


def test_json_that_does_not_fit_the_message_is_refused(descriptors: str) -> None:
    with pytest.raises(InvalidInput, match=r"shop\.v1\.Order"):
        Payloads(descriptors).pack("shop.v1.Order", '{"nonsense": 1}', "order")


def test_a_file_that_is_no_descriptor_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pb"
    path.write_bytes(b"\xff")

    with pytest.raises(InvalidInput, match="FileDescriptorSet"):
        Payloads(str(path))


@pytest.mark.parametrize(
    "packed",
    [
        Any(type_url="type.googleapis.com/not.Known", value=b"\x01\x02"),
        Any(type_url="json.angzarr.io/a.B", value=b"{"),
    ],
)
def test_what_can_not_be_told_is_shown_as_base64(packed: Any) -> None:
    assert Payloads().open(packed) == {"base64": base64.b64encode(packed.value).decode()}


def test_framework_events_are_shown_without_descriptors() -> None:
    packed = Any(
        type_url="type.angzarr.io/angzarr.NoOp",
        value=wire.NoOp(original_sequence=3, reason="revoked").SerializeToString(),
    )

    assert Payloads().open(packed) == {"original_sequence": 3, "reason": "revoked"}


def test_a_payload_of_a_user_inside_of_a_framework_message_is_opened(descriptors: str) -> None:
    """protobuf's own JSON gives up where it can't find a type inside of an Any."""
    notification = wire.Notification(payload=Any(type_url="x/shop.v1.Order", value=b"\n\x01a"))
    packed = Any(type_url="x/angzarr.Notification", value=notification.SerializeToString())

    assert Payloads(descriptors).open(packed) == {
        "payload": {"type": "shop.v1.Order", "payload": {"id": "a"}}
    }


def test_a_message_is_plain_whatever_its_fields_are() -> None:
    letter = wire.AngzarrDeadLetter(
        cover=wire.Cover(root=wire.UUID(value=b"\x01\x02")),
        occurred_at={"seconds": 1},
        metadata={"a": "b"},
        rejected_command=wire.CommandBook(pages=[wire.CommandPage(merge_strategy=3)]),
    )
    letter.payload_retrieval_failed.content_hash = b"h"
    letter.rejected_command.pages.add(merge_strategy=77)

    assert Payloads().plain(letter) == {
        "cover": {"root": "0102"},
        "occurred_at": "1970-01-01T00:00:01Z",
        "metadata": {"a": "b"},
        "rejected_command": {"pages": [{"merge_strategy": "MERGE_MANUAL"}, {"merge_strategy": 77}]},
        "payload_retrieval_failed": {"content_hash": "aA=="},
    }


def test_a_payload_that_is_packed_again_keeps_its_type(descriptors: str) -> None:
    payloads = Payloads(descriptors)
    message = Any(type_url="x.example/shop.v1.Order", value=b"")
    plain = Any(type_url="json.angzarr.io/account.Deposit", value=b"")

    assert payloads.repack(message, {"id": "a"}) == Any(type_url=message.type_url, value=b"\n\x01a")
    assert payloads.repack(plain, {"é": 1}).value == '{"é": 1}'.encode()


def test_a_payload_of_an_unknown_message_is_not_packed_again() -> None:
    packed = Any(type_url="x.example/shop.v1.Order", value=b"")

    assert not Payloads().can_open(packed)
    with pytest.raises(InvalidInput, match="--descriptors knows"):
        Payloads().repack(packed, {"id": "a"})
