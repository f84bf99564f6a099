"""Payments for the demo: which there are, and a sender that may be interrupted and go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from angzarr.caller import Caller
from angzarr.examples.bank.full import Account, Close, Deposit, Open, Transfer

OWNERS: Final = (
    *("Ada", "Berta", "Carl", "Dora", "Emil", "Frida", "Gustav", "Hanna", "Ida", "Jakob"),
    *("Klara", "Linus", "Maria", "Nora", "Otto", "Paula", "Quirin", "Rosa", "Simon", "Tilda"),
)
CLOSED: Final = "ulrich"
UNKNOWN: Final = "nobody"
DEPOSIT_CENTS: Final = 500_000
"""On each account at the start; more than an owner can send away."""
AMOUNT_CENTS_MAX: Final = 2_000
EVERY_REFUSED: Final = 10
"""One payment in so many goes to an account that does not take it."""
IN_FLIGHT: Final = 16
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Payment:
    """A transfer that somebody is going to make. is_refused: by the account that it is for."""

    reference: str
    sender: str
    to: str
    amount_cents: int
    is_refused: bool


def account_of(owner: str) -> str:
    """How commands name an owner's account."""
    return owner.lower()


ACCOUNTS: Final = tuple(map(account_of, OWNERS))


def payments(count: int, seed: int = 1) -> tuple[Payment, ...]:
    """So many payments between the accounts; the same ones for the same seed."""
    dice = random.Random(seed)
    found: list[Payment] = []
    for number in range(count):
        sender, to = dice.sample(ACCOUNTS, 2)
        is_refused = number % EVERY_REFUSED == 0
        found.append(
            Payment(
                reference=f"transfer-{number:04}",
                sender=sender,
                to=dice.choice((CLOSED, UNKNOWN)) if is_refused else to,
                amount_cents=dice.randint(1, AMOUNT_CENTS_MAX),
                is_refused=is_refused,
            )
        )
    return tuple(found)


async def open_accounts(client: Caller) -> None:
    """Open them all, each with its deposit, and one that is closed again."""
    accounts = client.domain(Account)
    for owner in OWNERS:
        await accounts.send(account_of(owner), Open(owner), timeout_s=TIMEOUT_S)
        await accounts.send(account_of(owner), Deposit(DEPOSIT_CENTS), timeout_s=TIMEOUT_S)
    await accounts.send(CLOSED, Open("Ulrich"), timeout_s=TIMEOUT_S)
    await accounts.send(CLOSED, Close(date(2024, 2, 29)), timeout_s=TIMEOUT_S)


async def send(
    client: Caller, wanted: Sequence[Payment], *, heard: Callable[[Payment], None]
) -> None:
    """Send the payments, several at a time.

    The reference is the idempotency key, so a payment that was not acknowledged may be sent again;
    it is the correlation id, too, by which the watch over transfers tells them apart.

    heard: called after each acknowledged one. Raises an ExceptionGroup of what `Domain.send`
    raises.
    """
    accounts, seats = client.domain(Account), asyncio.Semaphore(IN_FLIGHT)

    async def pay(payment: Payment) -> None:
        async with seats:
            await accounts.send(
                payment.sender,
                Transfer(payment.reference, payment.to, payment.amount_cents),
                idempotency=payment.reference,
                correlation_id=payment.reference,
                timeout_s=TIMEOUT_S,
            )
            heard(payment)

    async with asyncio.TaskGroup() as group:
        for payment in wanted:
            group.create_task(pay(payment))
