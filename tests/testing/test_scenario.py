"""given … when … then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from angzarr import Aggregate, Rejection, Revocation, applies, command, reject, rejected
from angzarr.errors import HandlerFailed, InvalidInput
from angzarr.testing import given


@dataclass(frozen=True)
class Deposit:
    amount: int


@dataclass(frozen=True)
class Withdraw:
    amount: int


@dataclass(frozen=True)
class Deposited:
    amount: int


@dataclass(frozen=True)
class Withdrawn:
    amount: int


class Account(Aggregate, domain="account"):
    balance: int = 0

    @command
    async def deposit(self, cmd: Deposit) -> Deposited | None:
        await asyncio.sleep(0)
        return Deposited(cmd.amount) if cmd.amount else None

    @command
    def withdraw(self, cmd: Withdraw) -> Withdrawn:
        if cmd.amount > self.balance:
            reject("insufficient funds")
        return Withdrawn(cmd.amount)

    @rejected
    def refused(self, rejection: Rejection[Deposit]) -> Deposited | Revocation | None:
        match rejection.reason:
            case "closed":
                return Deposited(rejection.command.amount)
            case "wrong":
                return Revocation(rejection.domain, escalate=True)
            case _:
                return None

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @applies
    def withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount


def test_the_right_events_pass():
    given(Account, Deposited(500)).when(Withdraw(200)).then(Withdrawn(200))


def test_a_refusal_passes_by_a_part_of_its_reason():
    given(Account).when(Withdraw(200)).then_rejected("insufficient")


def test_no_event_passes_as_nothing():
    given(Account).when(Deposit(0)).then_nothing()


def test_the_state_after_the_new_events_is_seen():
    given(Account, Deposited(500)).when(Withdraw(200)).then_state(balance=300)


def test_the_state_of_the_given_events_is_seen():
    given(Account, Deposited(500), Withdrawn(1)).then_state(balance=499)


def test_commands_follow_on_each_other():
    given(Account).when(Deposit(5), Withdraw(5)).then(Deposited(5), Withdrawn(5))


def test_expectations_chain():
    given(Account).when(Deposit(5)).then(Deposited(5)).then_state(balance=5)


async def test_it_works_where_a_loop_runs():
    given(Account).when(Deposit(5)).then(Deposited(5))


async def test_a_refusal_is_seen_where_a_loop_runs():
    given(Account).when(Withdraw(5)).then_rejected()


def test_other_events_fail_with_both_shown():
    with pytest.raises(AssertionError) as caught:
        given(Account, Deposited(500)).when(Withdraw(200)).then(Withdrawn(300))

    lines = str(caught.value).splitlines()
    assert "- Withdrawn(amount=300)" in lines
    assert "+ Withdrawn(amount=200)" in lines


def test_a_missing_event_fails():
    with pytest.raises(AssertionError, match=r"\+ nothing"):
        given(Account).when(Deposit(0)).then(Deposited(0))


def test_events_of_another_order_fail():
    with pytest.raises(AssertionError):
        given(Account).when(Deposit(5), Withdraw(5)).then(Withdrawn(5), Deposited(5))


def test_an_event_where_nothing_is_expected_fails():
    with pytest.raises(AssertionError, match=r"\+ Deposited\(amount=5\)"):
        given(Account).when(Deposit(5)).then_nothing()


def test_an_unexpected_refusal_fails_with_its_reason():
    with pytest.raises(AssertionError, match="refused: insufficient funds"):
        given(Account).when(Withdraw(5)).then(Withdrawn(5))


def test_a_refusal_for_another_reason_fails_with_both():
    with pytest.raises(AssertionError, match=r"'closed'\n.*'insufficient funds'"):
        given(Account).when(Withdraw(5)).then_rejected("closed")


def test_events_where_a_refusal_is_expected_fail():
    with pytest.raises(AssertionError, match=r"got events:\nDeposited\(amount=5\)"):
        given(Account).when(Deposit(5)).then_rejected()


def test_another_state_fails_with_both():
    with pytest.raises(AssertionError, match=r"- balance = 4\n\+ balance = 5"):
        given(Account).when(Deposit(5)).then_state(balance=4)


def test_a_given_event_that_the_class_does_not_apply_is_wrong_use():
    with pytest.raises(TypeError, match=r"Account applies no account\.Deposit"):
        given(Account, Deposit(5)).when(Deposit(5))


def test_an_unknown_command_is_raised():
    with pytest.raises(InvalidInput, match=r"account\.Deposited"):
        given(Account).when(Deposited(5))


def test_an_exception_of_the_class_is_raised():
    class Broken(Account, domain="account"):
        @command
        def withdraw(self, cmd: Withdraw) -> Withdrawn:
            raise ZeroDivisionError("by design")

    with pytest.raises(HandlerFailed, match="by design"):
        given(Broken).when(Withdraw(1))


def test_events_that_answer_a_rejection_are_compared():
    given(Account, Withdrawn(3)).when_rejected(Deposit(3), "closed").then(Deposited(3))


def test_a_revocation_that_answers_a_rejection_is_compared():
    given(Account).when_rejected(Deposit(3), "wrong", domain="savings").then(
        Revocation("savings", escalate=True)
    )


def test_a_revocation_is_not_nothing():
    outcome = given(Account).when_rejected(Deposit(3), "wrong")

    with pytest.raises(AssertionError, match="other events"):
        outcome.then_nothing()


def test_an_empty_answer_to_a_rejection_is_nothing():
    given(Account).when_rejected(Deposit(3)).then_nothing()
