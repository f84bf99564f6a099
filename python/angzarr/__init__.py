"""Event-sourced systems in Python on a native store."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from angzarr.errors import AngzarrError, CommandRejected
from angzarr.handlers import (
    Aggregate,
    Cancel,
    Compensation,
    ProcessManager,
    Projector,
    Record,
    Rejection,
    Revocation,
    Saga,
    Schedule,
    Send,
    Service,
    Trigger,
    Upcaster,
    applies,
    command,
    compensates,
    handles,
    prepares,
    projects,
    reject,
    rejected,
    routes,
    upcasts,
    wakes,
)

if TYPE_CHECKING:
    from angzarr.app import App
    from angzarr.calls import Book, Event, Sent
    from angzarr.client import connect, connect_sync
    from angzarr.cover import Cover
    from angzarr.points import Position
    from angzarr.readstores import Sqlite
    from angzarr.speculated import Speculated
    from angzarr.what_if import WhatIf

__all__ = [
    "Aggregate",
    "AngzarrError",
    "App",
    "Book",
    "Cancel",
    "CommandRejected",
    "Compensation",
    "Cover",
    "Event",
    "Position",
    "ProcessManager",
    "Projector",
    "Record",
    "Rejection",
    "Revocation",
    "Saga",
    "Schedule",
    "Send",
    "Sent",
    "Service",
    "Speculated",
    "Sqlite",
    "Trigger",
    "Upcaster",
    "WhatIf",
    "applies",
    "command",
    "compensates",
    "connect",
    "connect_sync",
    "handles",
    "prepares",
    "projects",
    "reject",
    "rejected",
    "routes",
    "upcasts",
    "wakes",
]

_LATER: Final = {
    "App": "app",
    "Book": "calls",
    "Cover": "cover",
    "Event": "calls",
    "Position": "points",
    "Sent": "calls",
    "Speculated": "speculated",
    "Sqlite": "readstores",
    "WhatIf": "what_if",
    "connect": "client",
    "connect_sync": "client",
}
"""Names that are loaded when first used: a module of handlers alone stays quick to import."""


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'angzarr' has no attribute {name!r}")
    return getattr(importlib.import_module(f"angzarr.{module}"), name)
