"""The shop's messages, made where they are imported: our processes and those of the published
client have different releases of protobuf, and generated code of one is no use to the other.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "shop"

FIELDS = {
    # order
    "Place": "string item, bytes shelf, int64 cents",
    "Placed": "string item, bytes shelf, int64 cents",
    "Confirm": "",
    "Confirmed": "",
    "Pay": "",
    "Paid": "string item, int64 cents",
    "Cancel": "string reason",
    "Cancelled": "string reason",
    "Wrap": "",
    "WrapAsked": "string item",
    "Note": "string text",
    "Noted": "string text",
    # stock: a stream for each shelf
    "Fill": "int64 count",
    "Filled": "int64 count",
    "Reserve": "bytes order",
    "Reserved": "bytes order",
    # shipment
    "Ship": "string item",
    "Shipped": "string item",
    "Pack": "string item",
    "Packed": "string item",
    "TakenBack": "string reason",
    # ledger: facts alone
    "Income": "int64 cents",
    # fulfilment
    "Waiting": "bytes order, string item",
    "Finished": "bytes order",
    "Failed": "string reason",
    "GaveUp": "bytes order",
    "Patience": "",
    # read models and their queries
    "Total": "int64 cents",
    "FindOrder": "bytes root",
    "ListOrders": "string status",
    "OrderRow": "string item, string status, int64 pages",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="shop_of_tests.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(filter(None, fields.split(", ")), start=1):
            kind, field_name = field.split()
            message.field.add(
                name=field_name,
                number=number,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
                type=descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}"),
            )
    return file


_POOL = descriptor_pool.Default()
_POOL.AddSerializedFile(_file().SerializeToString())

CLASSES: dict[str, Any] = {
    name: message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
    for name in FIELDS
}
globals().update(CLASSES)
