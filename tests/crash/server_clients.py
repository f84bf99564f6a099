"""Clients of the bank that remember what the server answered, and what must be true after a kill.

Each request has a number, which shows in its events: so one that is lost, there in part, or there
twice is told apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import Final

from angzarr import wire
from angzarr.caller import Caller, Domain
from angzarr.calls import Sent, decoder
from angzarr.client import connect
from angzarr.cover import root_of
from angzarr.errors import RemoteError
from angzarr.examples.bank.full import (
    Account,
    Close,
    Closed,
    Deposit,
    Deposited,
    Open,
    Opened,
    Withdrawn,
)

CALL_S_MAX: Final = 20.0
CLIENT_COUNT: Final = 6
SHARED: Final = "shared"
"""The account that all clients open, by one idempotency key, and pay into."""
SHARED_NUMBER: Final = 1
DECODE: Final = decoder([Opened, Deposited, Withdrawn, Closed], "account")

AWAY: Final = ("UNAVAILABLE",)
"""What a client is told while the server is stopping or gone."""

Streams = Mapping[bytes, list[wire.EventPage]]


@dataclass(slots=True)
class Request:
    """A request and its fate. pages: those that it was acknowledged with, None without an answer.

    count: pages of a "record". is_keyed: it may be sent again. expected: its stamp, if it has one.
    """

    number: int
    root: str
    kind: str
    count: int = 1
    is_keyed: bool = True
    expected: int | None = None
    pages: list[bytes] | None = None

    async def send(self, account: Domain) -> Sent:
        """Send it, for the first time or again; all answers must be the same."""
        sent = await self._send(account)
        pages = [event.page.SerializeToString() for event in sent.events]
        assert pages, f"{self} was answered with nothing"
        assert self.pages in (None, pages), f"{self} was executed twice: {sent}"
        self.pages = pages
        return sent

    async def _send(self, account: Domain) -> Sent:
        key = f"key-{self.number}" if self.is_keyed else ""
        if self.kind == "record":
            facts = [Deposited(amount) for amount in self.amounts()]
            return await account.record(self.root, *facts, external_id=key, timeout_s=CALL_S_MAX)
        command: Open | Deposit | Close
        match self.kind:
            case "open":
                command = Open(str(self.number))
            case "deposit":
                [amount] = self.amounts()
                command = Deposit(amount)
            case _:
                command = Close(date.fromordinal(self.number))
        return await account.send(
            self.root,
            command,
            idempotency=key,
            expected_sequence=self.expected,
            timeout_s=CALL_S_MAX,
        )

    def amounts(self) -> list[int]:
        """In cents: number, count and index."""
        return [self.number * 100 + self.count * 10 + index for index in range(self.count)]


@dataclass(slots=True)
class Ledger:
    """All requests to one store, in any order."""

    requests: dict[int, Request] = field(default_factory=dict[int, Request])
    answer_count: int = 0
    """Since the last `begin`."""
    _wanted: int = 0
    _is_reached: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, wanted: int) -> None:
        """A server was started; `reached` is when it has given this many answers."""
        self.answer_count, self._wanted, self._is_reached = 0, wanted, asyncio.Event()

    async def reached(self) -> None:
        """Return when as many answers were given as `begin` said."""
        await self._is_reached.wait()

    def new(
        self,
        root: str,
        kind: str,
        *,
        count: int = 1,
        is_keyed: bool = True,
        expected: int | None = None,
    ) -> Request:
        """A request that was never sent."""
        number = len(self.requests) + SHARED_NUMBER + 1
        request = Request(number, root, kind, count, is_keyed, expected)
        self.requests[number] = request
        return request

    def shared(self) -> Request:
        """The opening of the shared account, the same for everyone."""
        request = Request(SHARED_NUMBER, SHARED, "open")
        return self.requests.setdefault(SHARED_NUMBER, request)

    async def send(self, account: Domain, request: Request) -> Sent:
        """Send it and count the answer."""
        sent = await request.send(account)
        self.answer_count += 1
        if self.answer_count >= self._wanted:
            self._is_reached.set()
        return sent


@contextlib.contextmanager
def until_away() -> Generator[None]:
    """Ends quietly when the server is gone; any other failure is one of the test."""
    try:
        yield
    except RemoteError as error:
        if error.code not in AWAY:
            raise


async def use(address: str, ledger: Ledger, chance: random.Random) -> None:
    """What clients do with a server that was started: look, send again, and go on; till it dies."""
    with until_away():
        async with connect(address) as caller:
            check_requests(await read(caller), ledger)
            await send_again(caller.domain(Account), ledger, chance)
            check_requests(await read(caller), ledger)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(CLIENT_COUNT):
            caller = await stack.enter_async_context(connect(address))
            group.create_task(work(caller.domain(Account), ledger, chance))


async def send_again(account: Domain, ledger: Ledger, chance: random.Random) -> None:
    """All keyed requests that have no answer, and a few that have one."""
    keyed = [request for request in ledger.requests.values() if request.is_keyed]
    answered = [request for request in keyed if request.pages is not None]
    for request in keyed:
        if request.pages is None:
            await ledger.send(account, request)
    for request in chance.sample(answered, min(10, len(answered))):
        await ledger.send(account, request)


async def work(account: Domain, ledger: Ledger, chance: random.Random) -> None:
    """One client: opens accounts, pays into them and into the shared one, and closes them."""
    with until_away():
        await ledger.send(account, ledger.shared())
        for life in count():
            root = f"account-{len(ledger.requests)}-{life}"
            sent = await ledger.send(account, ledger.new(root, "open", is_keyed=life % 2 == 0))
            for step in range(chance.randrange(1, 8)):
                is_keyed = chance.random() < 0.5
                pages = chance.randrange(1, 6) if step % 3 == 2 else 1
                sent = await ledger.send(
                    account,
                    ledger.new(
                        root,
                        "record" if step % 3 == 2 else "deposit",
                        count=pages,
                        is_keyed=is_keyed,
                        expected=sent.next_sequence if step % 3 == 1 else None,
                    ),
                )
                await ledger.send(account, ledger.new(SHARED, "deposit", is_keyed=is_keyed))
            await ledger.send(account, ledger.new(root, "close", is_keyed=life % 3 > 0))


async def read(caller: Caller) -> Streams:
    """All streams, as the server answers them; sequences without gap."""
    account = caller.domain(Account)
    streams: dict[bytes, list[wire.EventPage]] = {}
    async for root in account.roots(timeout_s=CALL_S_MAX):
        pages = [event.page async for event in account.events(root, timeout_s=CALL_S_MAX)]
        assert [page.header.sequence for page in pages] == list(range(len(pages))), root
        streams[root] = pages
    return streams


def check_requests(streams: Streams, ledger: Ledger) -> None:
    """Acknowledged events are there as acknowledged; no request is there in part, or twice."""
    for request in ledger.requests.values():
        pages = streams.get(root_of(request.root), [])
        for page in map(wire.EventPage.FromString, request.pages or ()):
            sequence = page.header.sequence
            assert sequence < len(pages), f"{request}: of its pages {sequence} is lost"
            assert pages[sequence] == page, f"{request}: {pages[sequence]} for {page}"
    found: list[int] = []
    for root, pages in streams.items():
        executed = list(executed_in(pages))
        assert all(root_of(ledger.requests[number].root) == root for number in executed)
        found += executed
    assert len(found) == len(set(found)), "a request was executed twice"


def executed_in(pages: Iterable[wire.EventPage]) -> Generator[int]:
    """Numbers of the requests whose events these are; none is there in part."""
    events = iter([DECODE(page) for page in pages])
    balance_cents = 0
    for event in events:
        match event:
            case Opened(owner):
                yield int(owner)
            case Deposited(first):
                number, size = first // 100, first // 10 % 10
                rest = [next(events, None) for _ in range(size - 1)]
                wanted = Request(number, "", "record", size).amounts()
                assert [event, *rest] == [Deposited(amount) for amount in wanted], number
                balance_cents += sum(wanted)
                yield number
            case Withdrawn(amount):
                assert amount == balance_cents, "it was decided on another state"
                closed = next(events, None)
                assert isinstance(closed, Closed), "an account is closed in part"
                yield closed.on.toordinal()
            case _:
                raise AssertionError(f"{event} comes of no request")
