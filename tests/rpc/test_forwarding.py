"""One app split in two: a process that coordinates, and one that forwards to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from angzarr import errors
from angzarr.app import App
from angzarr.caller import Caller
from angzarr.client import connect
from angzarr.handlers import Aggregate, applies, command


@dataclass
class Deposit:
    cents: int


@dataclass
class Deposited:
    cents: int


class Account(Aggregate, domain="account"):
    balance_cents: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        if cmd.cents <= 0:
            raise errors.CommandRejected("a deposit is positive")
        return Deposited(cmd.cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.cents


@pytest.fixture(params=["collocated", "coordinator elsewhere"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    """A client of the app in one process, and of one that forwards to it (DEP-4, DEP-12)."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(App(Account, store="memory://"))
        server = await app.serve(port=0)
        stack.push_async_callback(server.stop, 0)
        if request.param != "collocated":
            place = {"endpoint": f"tcp://{server.addresses[0]}", "role": "coordinator"}
            settings = {"components": {"aggregate:account": place}}
            front = await stack.enter_async_context(App(store="memory://", config=settings))
            server = await front.serve(port=0)
            stack.push_async_callback(server.stop, 0)
        yield await stack.enter_async_context(connect(server.addresses[0]))


@pytest.mark.spec("DEP-4", "DEP-12")
async def test_command_is_answered_alike_in_both_shapes(client: Caller) -> None:
    sent = await client.domain("account").send("alice", Deposit(5))

    assert (sent.sequences, sent.next_sequence) == ((0,), 1)


@pytest.mark.spec("DEP-12")
async def test_rejection_is_the_same_error_in_both_shapes(client: Caller) -> None:
    with pytest.raises(errors.CommandRejected, match=r"^a deposit is positive$"):
        await client.domain("account").send("alice", Deposit(0))


@pytest.mark.spec("DEP-12", "WIRE-10")
async def test_mismatch_is_the_same_error_with_its_book_in_both_shapes(client: Caller) -> None:
    account = client.domain("account")
    await account.send("alice", Deposit(5))

    with pytest.raises(errors.SequenceMismatch) as caught:
        await account.send("alice", Deposit(5), expected_sequence=0, merge="strict")

    assert (caught.value.expected, caught.value.actual) == (0, 1)
    assert caught.value.book


@pytest.mark.spec("DEP-12", "WIRE-11")
async def test_wrong_input_is_the_same_error_in_both_shapes(client: Caller) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        await client.domain("account").send("alice", Deposited(5))

    assert caught.value.field == "pages.command.type_url"
    assert caught.value.limit == "one of account.Deposit"


@pytest.mark.spec("DEP-4", "CMD-29")
async def test_idempotency_key_passes_through_in_both_shapes(client: Caller) -> None:
    account = client.domain("account")

    first = await account.send("alice", Deposit(5), idempotency="order-1")
    again = await account.send("alice", Deposit(5), idempotency="order-1")

    assert (first.sequences, again.sequences) == ((0,), (0,))
