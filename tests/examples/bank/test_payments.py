"""The payments of the demo."""

from __future__ import annotations

from angzarr.examples.bank.payments import ACCOUNTS, CLOSED, DEPOSIT_CENTS, UNKNOWN, payments

MANY = payments(1_000)


def test_payments_are_the_same_each_time():
    assert payments(50) == payments(50) != payments(50, seed=2)


def test_references_are_unique():
    assert len({payment.reference for payment in MANY}) == len(MANY)


def test_refused_payments_go_where_no_open_account_is():
    refused = {payment.to for payment in MANY if payment.is_refused}

    assert refused == {CLOSED, UNKNOWN}
    assert all(payment.to in ACCOUNTS for payment in MANY if not payment.is_refused)


def test_nobody_pays_themselves():
    assert all(payment.to != payment.sender for payment in MANY)


def test_each_sender_can_pay_without_being_paid():
    for account in ACCOUNTS:
        sent_cents = sum(payment.amount_cents for payment in MANY if payment.sender == account)
        assert sent_cents <= DEPOSIT_CENTS
