"""`python -m angzarr.examples.bank.demo`: money between accounts, and two kills with -9.

Serves the bank in two processes, the saga that carries transfers in one of its own, and sends
payments through it, some of them bound to be refused. Kills the saga's process, and later the
server while payments are in flight; starts the server again and, when the senders have been told
that their money is late, the saga. In the end each payment must have been credited once or given
back once, and all money be there; exits 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, TypeVar

import grpc.aio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

from angzarr.caller import Caller
from angzarr.client import connect
from angzarr.errors import RemoteError
from angzarr.examples.bank.audit import Audit, audit
from angzarr.examples.bank.pages import Statements, euros, statement_table
from angzarr.examples.bank.payments import (
    ACCOUNTS,
    CLOSED,
    UNKNOWN,
    Payment,
    open_accounts,
    payments,
    send,
)
from angzarr.examples.bank.processes import Process, ProcessFailed, serving
from angzarr.examples.bank.statement_pb2 import StatementPage
from angzarr.examples.bank.watch import PROMISED

PIPED_COLUMNS: Final = 120
WAIT_S_MAX: Final = 60.0
LOOK_S: Final = 0.25

Found = TypeVar("Found")

SAGA: Final = "saga:transfers"
CONFIG: Final = """\
consumer:
  lease_s: 2  # how long the work of a killed process waits for another one
"""


class TooLate(Exception):
    """Something did not happen within WAIT_S_MAX; the message says what."""


def main() -> int:
    """Run the demo; 0 if every payment has ended as it must."""
    parser = argparse.ArgumentParser(description="Money between accounts, and two kills with -9.")
    parser.add_argument("--store", default="rocksdb", help="rocksdb or rocksdict [rocksdb]")
    parser.add_argument("--payments", type=int, default=1_000, help="how many [1000]")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS)
    with tempfile.TemporaryDirectory(prefix="angzarr-bank-") as folder:
        demo = Demo(console, Path(folder), options.store, payments(options.payments))
        try:
            return asyncio.run(demo.run())
        except (ProcessFailed, TooLate) as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            return 1


class Demo:
    """The story, in the order in which it happens."""

    def __init__(
        self, console: Console, folder: Path, scheme: str, wanted: Sequence[Payment]
    ) -> None:
        self._console = console
        self._folder = folder
        self._store = f"{scheme}://{folder / 'data'}"
        self._wanted = wanted
        self._answered: list[Payment] = []
        self._port = 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("paying", total=len(wanted))

    async def run(self) -> int:
        """All of it; the exit code."""
        (self._folder / "bank.yaml").write_text(CONFIG)
        refused_count = sum(payment.is_refused for payment in self._wanted)
        self._say(
            f"{len(ACCOUNTS)} accounts, {len(self._wanted):,} payments; {refused_count} of them go "
            "to an account that is closed or was never opened"
        )
        with self._progress:
            await self._pay_until_killed()
            answered = tuple(self._answered)
            async with self._server() as server, connect(server.address) as client:
                self._say(f"the server runs again in process {server.pid}")
                await self._wait_for_notices(client)
                await self._pay_the_rest(server, client)
                found = await _audit(client)
                async with grpc.aio.insecure_channel(server.address) as channel:
                    statements = Statements(channel)
                    is_told = await self._shows(statements, found)
                    await self._print_statement(statements)
        return self._report(found, answered, is_told=is_told)

    async def _pay_until_killed(self) -> None:
        """Two thirds of the payments. The saga's process dies after the first third, when half of
        it has arrived, the server at the end."""
        count = len(self._wanted)
        async with (
            self._server() as server,
            self._saga(server) as saga,
            connect(server.address) as client,
        ):
            self._port = int(server.address.rpartition(":")[2])
            self._say(f"the server is process {server.pid}, {SAGA} is process {saga.pid}")
            await open_accounts(client)
            await send(client, self._wanted[: count // 3], heard=self._heard)

            async def have_arrived() -> int | None:
                settled_count = len((await _audit(client)).settled)
                return settled_count if settled_count >= count // 6 else None

            arrived_count = await _until(have_arrived, "half of the transfers have not arrived")
            saga.kill()
            self._say(
                f"killed {SAGA} with -9 after {count // 3:,} payments; {arrived_count:,} of them "
                "had arrived"
            )
            await self._pay_until_away(server, client)
        self._say(f"killed the server with -9 after {len(self._answered):,}, others in flight")

    async def _pay_until_away(self, server: Process, client: Caller) -> None:
        """Go on paying, and kill the server at two thirds, under the feet of those in flight."""

        def heard(payment: Payment) -> None:
            self._heard(payment)
            if len(self._answered) == 2 * len(self._wanted) // 3:
                server.kill()

        try:
            await send(client, self._wanted[len(self._answered) :], heard=heard)
        except* RemoteError as errors:
            unexpected = errors.split(_is_away)[1]
            if unexpected is not None:
                raise unexpected from None

    async def _wait_for_notices(self, client: Caller) -> None:
        """Until the senders of all that is in transit are told; the timers outlived the server."""

        async def are_told() -> Audit | None:
            found = await _audit(client)
            return found if found.open_transfers() <= found.delayed.keys() else None

        found = await _until(are_told, "not all senders were told that their transfer is late")
        self._say(
            f"{len(found.open_transfers()):,} transfers, {euros(found.in_transit_cents)} together, "
            f"are in transit for {PROMISED.seconds} s and more: their senders have been told"
        )

    async def _pay_the_rest(self, server: Process, client: Caller) -> None:
        """With a new process for the saga, until everything has arrived."""
        started = time.perf_counter()
        async with self._saga(server) as saga:
            self._say(f"{SAGA} runs again in process {saga.pid}")
            answered = frozenset(self._answered)
            rest = [payment for payment in self._wanted if payment not in answered]
            await send(client, rest, heard=self._heard)

            async def have_ended() -> bool:
                return not (await _audit(client)).open_transfers()

            await _until(have_ended, "not all transfers have ended")
        took_s = time.perf_counter() - started
        self._say(f"{took_s:.1f} s later all are paid, and every transfer has ended")

    async def _shows(self, statements: Statements, found: Audit) -> bool:
        """Whether the query service comes to tell what the streams tell."""

        async def are_equal() -> bool:
            shown = [balance async for balance in statements.balances()]
            is_at_rest = not any(balance.in_transit_cents for balance in shown)
            cents = sorted(balance.balance_cents for balance in shown)
            return is_at_rest and cents == sorted(found.balances[name] for name in found.accounts)

        try:
            await _until(are_equal, "")
        except TooLate:
            return False
        return True

    async def _print_statement(self, statements: Statements) -> None:
        """One page of an account's statement: the one that has most to show."""
        found: list[tuple[tuple[int, int], str, StatementPage]] = []
        for account in ACCOUNTS:
            pages = [page async for page in statements.pages(account)]
            for number, page in enumerate(pages, 1):
                title = f"{page.balance.owner}'s account, page {number} of {len(pages)}"
                found.append((_variety(page), title, page))
        _, title, page = max(found, key=lambda item: item[0])
        self._console.print(statement_table(page, title))

    def _report(self, found: Audit, answered: Sequence[Payment], *, is_told: bool) -> int:
        """Print what is checked; the exit code."""
        wrong = set(found.wrong(self._wanted))
        taken = [p for p in self._wanted if not p.is_refused]
        refused = [p for p in self._wanted if p.is_refused]
        lost_count = sum(not found.was_sent(payment) for payment in answered)
        balance_cents = sum(found.balances.values())
        checks = [
            ("payments credited once, and settled", *_all_but(wrong, taken)),
            ("payments refused, and given back once", *_all_but(wrong, refused)),
            ("senders told twice of one delay", *_none(sum(n > 1 for n in found.delayed.values()))),
            ("payments acknowledged and lost", *_none(lost_count)),
            ("transfers still open", *_none(len(found.open_transfers()))),
            (
                "on all accounts together",
                f"{euros(balance_cents)} of {euros(found.deposited_cents)}",
                found.is_balanced,
            ),
            ("statements equal to the accounts", "all" if is_told else "not all", is_told),
        ]
        table = Table(Column("what"), Column("found", justify="right"), "")
        for what, said, is_right in checks:
            table.add_row(what, said, "[green]✓" if is_right else "[red]differs")
        self._console.print(table)
        return 0 if all(is_right for _, _, is_right in checks) else 1

    def _heard(self, payment: Payment) -> None:
        self._answered.append(payment)
        self._progress.update(self._task, completed=len(self._answered))

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _server(self) -> AbstractAsyncContextManager[Process]:
        return serving(self._folder, f"*,-{SAGA}", self._store, port=self._port)

    def _saga(self, server: Process) -> AbstractAsyncContextManager[Process]:
        return serving(self._folder, SAGA, f"grpc://{server.address}")


async def _audit(client: Caller) -> Audit:
    return await audit(client, (*ACCOUNTS, CLOSED, UNKNOWN))


async def _until(done: Callable[[], Awaitable[Found | None]], what: str) -> Found:
    """Ask until the answer is true; the answer. Raises TooLate after WAIT_S_MAX."""
    end = time.monotonic() + WAIT_S_MAX
    while not (found := await done()):
        if time.monotonic() > end:
            raise TooLate(f"{what} within {WAIT_S_MAX:.0f} s")
        await asyncio.sleep(LOOK_S)
    return found


def _is_away(error: BaseException) -> bool:
    return isinstance(error, RemoteError) and error.code == "UNAVAILABLE"


def _variety(page: StatementPage) -> tuple[int, int]:
    """How much a page has to show: the kinds of its lines, what went wrong foremost; and how many
    there are of the rarest."""
    kinds = Counter(" ".join(line.text.split()[:2]) for line in page.lines if line.reference)
    unusual_count = len(kinds.keys() & {"Given back:", "Transfer is"})
    return 2 * unusual_count + len(kinds), min(kinds.values(), default=0)


def _all_but(wrong: set[str], wanted: Sequence[Payment]) -> tuple[str, bool]:
    right_count = sum(payment.reference not in wrong for payment in wanted)
    return f"{right_count:,} of {len(wanted):,}", right_count == len(wanted)


def _none(count: int) -> tuple[str, bool]:
    return f"{count:,}", not count


if __name__ == "__main__":
    sys.exit(main())
