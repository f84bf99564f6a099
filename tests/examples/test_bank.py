"""The bank: fifteen lines, and the fuller account."""

from __future__ import annotations

import ast
import inspect
from datetime import date

import pytest

from angzarr.examples.bank import app as first
from angzarr.examples.bank.full import (
    Account,
    Close,
    Closed,
    Deposit,
    Deposited,
    Open,
    Opened,
    Withdraw,
    Withdrawn,
)
from angzarr.testing import given

DAY = date(2024, 2, 29)
OPENED = Opened("alice", limit_cents=100)


def test_the_first_aggregate_has_at_most_fifteen_lines():
    """Code lines without imports and blank ones, as a reader counts them."""
    tree = ast.parse(inspect.getsource(first))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    lines = inspect.getsource(first).splitlines()
    written = [
        line
        for node in classes
        for line in lines[node.lineno - 1 - len(node.decorator_list) : node.end_lineno]
        if line.strip()
    ]

    assert len(written) <= 15


def test_the_first_account_takes_deposits():
    given(first.Account).when(first.Deposit(500)).then(first.Deposited(500)).then_state(
        balance_cents=500
    )


def test_an_account_is_opened_once():
    given(Account, OPENED).when(Open("bob")).then_rejected("alice")


def test_an_account_needs_an_owner():
    given(Account).when(Open("")).then_rejected("owner")


def test_an_account_is_opened_for_its_owner():
    given(Account).when(Open("alice", 100)).then(OPENED).then_state(owner="alice")


@pytest.mark.parametrize("command", [Deposit(5), Withdraw(5), Close(DAY)])
def test_an_account_that_is_not_open_refuses(command: object):
    given(Account).when(command).then_rejected("not open")


@pytest.mark.parametrize("command", [Deposit(5), Withdraw(5), Close(DAY)])
def test_a_closed_account_refuses(command: object):
    given(Account, OPENED, Closed(DAY)).when(command).then_rejected("not open")


@pytest.mark.parametrize("command", [Deposit(0), Withdraw(-1)])
def test_an_amount_is_more_than_zero(command: object):
    given(Account, OPENED).when(command).then_rejected("more than zero")


def test_the_limit_may_be_used():
    given(Account, OPENED).when(Withdraw(100)).then(Withdrawn(100)).then_state(balance_cents=-100)


def test_no_more_than_the_limit_may_be_used():
    given(Account, OPENED, Deposited(5)).when(Withdraw(106)).then_rejected("insufficient")


def test_closing_pays_out_the_rest():
    given(Account, OPENED, Deposited(5)).when(Close(DAY)).then(Withdrawn(5), Closed(DAY))


def test_closing_an_empty_account_pays_out_nothing():
    given(Account, OPENED).when(Close(DAY)).then(Closed(DAY)).then_state(closed_on=DAY)


def test_who_owes_can_not_close():
    given(Account, OPENED, Withdrawn(5)).when(Close(DAY)).then_rejected("owes 5")
