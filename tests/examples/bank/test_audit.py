"""The audit of payments, on made-up histories: it sees what is wrong."""

from __future__ import annotations

import pytest

from angzarr.cover import root_of
from angzarr.examples.bank.audit import audited
from angzarr.examples.bank.full import (
    Deposited,
    Opened,
    TransferDelayed,
    TransferReceived,
    TransferReturned,
    TransferSent,
    TransferSettled,
    Withdrawn,
)
from angzarr.examples.bank.payments import Payment

TAKEN = Payment("rent", "ada", "carl", 70, is_refused=False)
REFUSED = Payment("rent", "ada", "carl", 70, is_refused=True)

SENT = TransferSent("rent", "carl", 70, "Ada")
RECEIVED = TransferReceived("rent", root_of("ada"), "Ada", 70)
SETTLED = TransferSettled("rent", 70)
RETURNED = TransferReturned("rent", 70, "closed")


@pytest.mark.parametrize(
    ("payment", "ada", "carl"),
    [(TAKEN, [SENT, SETTLED], [RECEIVED]), (REFUSED, [SENT, RETURNED], [])],
)
def test_a_payment_that_has_ended_is_right(payment: Payment, ada: list[object], carl: list[object]):
    assert audited({"ada": ada, "carl": carl}).wrong([payment]) == []


@pytest.mark.parametrize(
    ("ada", "carl"),
    [
        ([], []),
        ([SENT], []),
        ([SENT], [RECEIVED]),
        ([SENT, SETTLED], []),
        ([SENT, RETURNED], []),
        ([SENT, SETTLED], [RECEIVED, RECEIVED]),
        ([SENT, SETTLED, SETTLED], [RECEIVED]),
        ([SENT, SETTLED, RETURNED], [RECEIVED]),
        ([SENT, SENT, SETTLED], [RECEIVED]),
        ([SENT, SETTLED, RECEIVED], []),
    ],
)
def test_any_other_end_of_a_payment_is_wrong(ada: list[object], carl: list[object]):
    assert audited({"ada": ada, "carl": carl}).wrong([TAKEN]) == ["rent"]


@pytest.mark.parametrize(
    ("ada", "carl"),
    [
        ([SENT], []),
        ([SENT, RETURNED], [RECEIVED]),
        ([SENT, SETTLED], [RECEIVED]),
        ([SENT, RETURNED, RETURNED], []),
    ],
)
def test_any_other_end_of_a_refused_payment_is_wrong(ada: list[object], carl: list[object]):
    assert audited({"ada": ada, "carl": carl}).wrong([REFUSED]) == ["rent"]


def test_money_is_on_accounts_or_in_transit():
    found = audited({"ada": [Opened("Ada", 0), Deposited(100), Withdrawn(5), SENT]})

    assert found.balances == {"ada": 25}
    assert (found.deposited_cents, found.in_transit_cents) == (95, 70)
    assert found.is_balanced


@pytest.mark.parametrize("carl", [[], [RECEIVED, RECEIVED]])
def test_money_that_is_gone_or_new_is_seen(carl: list[object]):
    found = audited({"ada": [Deposited(100), SENT, SETTLED], "carl": carl})

    assert not found.is_balanced


def test_a_transfer_is_open_until_it_has_ended():
    assert audited({"ada": [SENT, TransferDelayed("rent")]}).open_transfers() == {("ada", "rent")}
    assert audited({"ada": [SENT, SETTLED]}).open_transfers() == set()
    assert audited({"ada": [SENT, RETURNED]}).open_transfers() == set()


def test_notices_are_counted():
    found = audited({"ada": [SENT, TransferDelayed("rent"), TransferDelayed("rent")]})

    assert found.delayed == {("ada", "rent"): 2}


def test_a_payment_that_was_acknowledged_and_is_gone_is_seen():
    assert audited({"ada": [SENT]}).was_sent(TAKEN)
    assert not audited({"ada": []}).was_sent(TAKEN)
