"""The whole bank. Run it with `angzarr serve bank.py`; any part of it may be moved to a process of
its own: `angzarr serve bank.py --select saga:transfers --store grpc://HOST:PORT`."""

from __future__ import annotations

from angzarr import App
from angzarr.examples.bank.full import Account
from angzarr.examples.bank.statement import Statement
from angzarr.examples.bank.transfers import Transfers
from angzarr.examples.bank.watch import Watch

app = App(Account, Transfers, Watch, Statement)
