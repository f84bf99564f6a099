"""Statements as their owners see them: asked of the query service, and set as tables."""

# gRPC's generated code has no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC

import grpc.aio
from rich.table import Column, Table

from angzarr.examples.bank import statement_pb2 as pb
from angzarr.examples.bank.statement_pb2_grpc import StatementServiceStub


class Statements:
    """Calls of the query service; it is an ordinary gRPC client."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._service = StatementServiceStub(channel)

    async def page(self, account: str, size: int = 0, token: str = "") -> pb.StatementPage:
        """A page of an account's statement, the newest lines first."""
        return await self._service.GetStatement(
            pb.StatementRequest(account=account, page_size=size, page_token=token)
        )

    async def pages(self, account: str, size: int = 0) -> AsyncIterator[pb.StatementPage]:
        """All pages of it."""
        page = await self.page(account, size)
        yield page
        while page.next_page_token:
            page = await self.page(account, size, page.next_page_token)
            yield page

    async def balances(self) -> AsyncIterator[pb.Balance]:
        """Of all accounts, page by page."""
        request = pb.BalancesRequest()
        while True:
            page = await self._service.ListBalances(request)
            for balance in page.balances:
                yield balance
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def statement_table(page: pb.StatementPage, title: str) -> Table:
    """The page as a table."""
    table = Table(
        Column("booked (UTC)", no_wrap=True),
        Column("what"),
        Column("reference", no_wrap=True),
        Column("amount", justify="right", no_wrap=True),
        Column("balance", justify="right", no_wrap=True),
        title=title,
        title_justify="left",
    )
    for line in page.lines:
        booked_at = line.booked_at.ToDatetime(UTC)
        table.add_row(
            f"{booked_at:%Y-%m-%d %H:%M:%S}",
            line.text,
            line.reference,
            euros(line.amount_cents, "+") if line.amount_cents else "",
            euros(line.balance_cents),
        )
    return table


def euros(cents: int, plus: str = "") -> str:
    """`1,234.56`, with a sign before a negative amount; plus: the sign before any other."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else plus}{whole:,}.{rest:02}"
