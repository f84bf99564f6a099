"""A poker room: players, tables and hands. Run it with `angzarr serve app.py`."""

from __future__ import annotations

from angzarr import App
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.player import Player
from angzarr.examples.holdem.sagas import Cashier, Payout, Usher
from angzarr.examples.holdem.standings import Standings
from angzarr.examples.holdem.table import Table

app = App(Player, Table, Hand, Cashier, Usher, Payout, Standings)
