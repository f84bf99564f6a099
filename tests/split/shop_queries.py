"""The query service of the shop's orders: an ordinary gRPC service on the read store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from shop_messages import FindOrder, ListOrders, OrderRow

from angzarr.handlers.projector import Service
from angzarr.readstores import SqliteReader

NAME = "shop.Orders"
FIND = f"/{NAME}/Find"
LIST = f"/{NAME}/List"


class OrdersServicer:
    """Reads rows, and knows nothing of the projector."""

    def __init__(self, reader: SqliteReader) -> None:
        self._reader = reader

    def Find(self, request: Any, context: grpc.ServicerContext) -> Any:
        rows = self._reader.rows("SELECT * FROM orders WHERE root = ?", request.root)
        if not rows:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no order {request.root.hex()}")
        return _message(rows[0])

    def List(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        query = "SELECT * FROM orders WHERE status = ? ORDER BY root"
        yield from map(_message, self._reader.rows(query, request.status))


def add_to_server(servicer: OrdersServicer, server: Any) -> None:
    """As grpcio-tools generates it."""
    answer = {"response_serializer": OrderRow.SerializeToString}
    handlers = {
        "Find": grpc.unary_unary_rpc_method_handler(
            servicer.Find, request_deserializer=FindOrder.FromString, **answer
        ),
        "List": grpc.unary_stream_rpc_method_handler(
            servicer.List, request_deserializer=ListOrders.FromString, **answer
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    server.add_registered_method_handlers(NAME, handlers)


def _message(row: Any) -> Any:
    return OrderRow(item=row["item"], status=row["status"], pages=row["pages"])


SERVICE = Service(add_to_server, OrdersServicer)
