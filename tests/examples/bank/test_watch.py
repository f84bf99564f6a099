"""The promise to senders."""

from __future__ import annotations

import pytest

from angzarr import Cancel, Schedule, Send
from angzarr.cover import root_of
from angzarr.examples.bank.full import (
    ReportDelay,
    TransferReturned,
    TransferSent,
    TransferSettled,
)
from angzarr.examples.bank.watch import PROMISED, Began, Ended, Late, Watch
from angzarr.testing import given

BEGAN = Began("rent", root_of("alice"))


def test_a_transfer_is_watched_from_the_start():
    given(Watch).when(TransferSent("rent", "bob", 70, "Alice"), root="alice").then(
        BEGAN, Schedule("late", Late(), after=PROMISED)
    )


@pytest.mark.parametrize("end", [TransferSettled("rent", 70), TransferReturned("rent", 70, "")])
def test_a_transfer_that_has_ended_is_watched_no_more(end: TransferSettled | TransferReturned):
    given(Watch, BEGAN).when(end, root="alice").then(Ended(), Cancel("late"))


def test_the_sender_is_told_of_a_late_transfer():
    given(Watch, BEGAN).when_woken(Late()).then(
        Send(ReportDelay("rent"), root="alice", at_head=True)
    )


def test_nobody_is_told_of_a_transfer_that_has_just_ended():
    given(Watch, BEGAN, Ended()).when_woken(Late()).then_nothing()
