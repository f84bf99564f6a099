"""The fuller account, and its side of transfers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from angzarr.examples.bank.full import (
    Account,
    Close,
    Closed,
    Credit,
    Deposit,
    Deposited,
    Open,
    Opened,
    ReportDelay,
    Settle,
    Transfer,
    TransferDelayed,
    TransferReceived,
    TransferReturned,
    TransferSent,
    TransferSettled,
    Withdraw,
    Withdrawn,
)
from angzarr.testing import given

DAY = date(2024, 2, 29)
OPENED = Opened("alice", limit_cents=100)
SENT = TransferSent("rent", "bob", 70, "alice")
CREDIT = Credit("rent", b"bob's root 16 by", "bob", 70)
NEED_AN_OPEN_ACCOUNT = [
    Deposit(5),
    Withdraw(5),
    Transfer("rent", "bob", 5),
    CREDIT,
    Close(DAY),
]


def test_an_account_is_opened_once():
    given(Account, OPENED).when(Open("bob")).then_rejected("alice")


def test_an_account_needs_an_owner():
    given(Account).when(Open("")).then_rejected("owner")


def test_an_account_is_opened_for_its_owner():
    given(Account).when(Open("alice", 100)).then(OPENED).then_state(owner="alice")


@pytest.mark.parametrize("command", NEED_AN_OPEN_ACCOUNT)
def test_an_account_that_is_not_open_refuses(command: object):
    given(Account).when(command).then_rejected("not open")


@pytest.mark.parametrize("command", NEED_AN_OPEN_ACCOUNT)
def test_a_closed_account_refuses(command: object):
    given(Account, OPENED, Closed(DAY)).when(command).then_rejected("not open")


@pytest.mark.parametrize(
    "command",
    [Deposit(0), Withdraw(-1), Transfer("rent", "bob", 0), replace(CREDIT, amount_cents=0)],
)
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


def test_what_is_transferred_has_left_the_account_and_is_in_transit():
    given(Account, OPENED, Deposited(100)).when(Transfer("rent", "bob", 70)).then(SENT).then_state(
        balance_cents=30, in_transit={"rent": 70}
    )


def test_no_more_than_the_limit_may_be_transferred():
    given(Account, OPENED).when(Transfer("rent", "bob", 101)).then_rejected("insufficient")


def test_one_reference_is_in_transit_once():
    given(Account, OPENED, SENT).when(Transfer("rent", "carol", 5)).then_rejected(
        "rent is in transit"
    )


def test_a_transfer_is_credited():
    received = TransferReceived("rent", CREDIT.sender, "bob", 70)
    given(Account, OPENED).when(CREDIT).then(received).then_state(balance_cents=70)


def test_a_transfer_that_was_credited_is_settled():
    given(Account, OPENED, SENT).when(Settle("rent")).then(TransferSettled("rent", 70)).then_state(
        balance_cents=-70, in_transit={}
    )


def test_a_transfer_is_settled_once():
    given(Account, OPENED, SENT, TransferSettled("rent", 70)).when(Settle("rent")).then_rejected(
        "no transfer rent"
    )


@pytest.mark.spec("COMP-7")
def test_a_transfer_that_was_refused_is_given_back():
    given(Account, OPENED, SENT).when_rejected(CREDIT, "the account is not open").then(
        TransferReturned("rent", 70, "the account is not open")
    ).then_state(balance_cents=0, in_transit={})


def test_a_delay_is_reported():
    given(Account, OPENED, SENT).when(ReportDelay("rent")).then(TransferDelayed("rent"))


@pytest.mark.parametrize("end", [TransferSettled("rent", 70), TransferReturned("rent", 70, "")])
def test_a_transfer_that_has_ended_is_not_late(end: TransferSettled | TransferReturned):
    given(Account, OPENED, SENT, end).when(ReportDelay("rent")).then_nothing()


def test_an_account_with_transfers_in_transit_can_not_close():
    given(Account, OPENED, Deposited(70), SENT).when(Close(DAY)).then_rejected("rent")
