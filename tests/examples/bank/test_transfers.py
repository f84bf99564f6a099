"""Transfers: whose money goes where."""

from __future__ import annotations

from angzarr import Send
from angzarr.cover import root_of
from angzarr.examples.bank.full import Account, Credit, Settle, TransferReceived, TransferSent
from angzarr.examples.bank.transfers import Transfers
from angzarr.testing import given

ALICE = root_of("alice")


def test_what_was_sent_is_credited_to_the_other_account():
    given(Transfers).when(TransferSent("rent", "bob", 70, "Alice"), root="alice").then(
        Send(Credit("rent", ALICE, "Alice", 70), domain=Account, root="bob", at_head=True)
    )


def test_what_was_received_is_settled_with_the_sender():
    given(Transfers).when(TransferReceived("rent", ALICE, "Alice", 70), root="bob").then(
        Send(Settle("rent"), domain=Account, root="alice", at_head=True)
    )
