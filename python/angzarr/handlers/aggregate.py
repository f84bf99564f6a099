"""The base class of aggregates.

class Account(Aggregate, domain="account"):
    balance_cents: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        return Deposited(cmd.amount_cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import ClassVar, NoReturn, dataclass_transform

from angzarr.errors import CommandRejected
from angzarr.handlers.annotations import caller_names, fields_of
from angzarr.handlers.saga import Saga, sagas_on
from angzarr.handlers.state import make_fields
from angzarr.handlers.table import HandlerTable, build_table


@dataclass_transform(field_specifiers=(dataclasses.field,))
class Aggregate:
    """One consistency boundary: state, commands that decide, events that change it.

    The annotated attributes are the state; each has a default, which is the state of an empty
    stream. Attributes whose names start with `_` are caches: not encoded, not compared, at their
    defaults after a load. A subclass is a dataclass. Its `@command`, `@applies`, `@rejected` and
    `@compensates` methods are found by the annotations of their one parameter.

    domain: 1 to 64 of `a-z 0-9 _ -`, a letter first. sagas: those that belong to it, and are there
    wherever it is; they keep names of their own (DEP-8). Mistakes raise TypeError when the class is
    made.
    """

    __angzarr_table__: ClassVar[HandlerTable]
    __angzarr_sagas__: ClassVar[tuple[type[Saga], ...]]

    def __init_subclass__(
        cls, *, domain: str | None = None, sagas: Sequence[type[Saga]] = ()
    ) -> None:
        super().__init_subclass__()
        if not isinstance(domain, str):
            raise TypeError(
                f'{cls.__name__} needs a domain: class {cls.__name__}(Aggregate, domain="…")'
            )
        if "table" in vars(cls) or "table" in inspect.get_annotations(cls):
            raise TypeError(f"{cls.__name__}.table hides Aggregate.table(); choose another name")
        names = caller_names(1)
        hints = fields_of(cls, names)
        make_fields(cls, hints)
        cls.__angzarr_table__ = build_table(cls, domain, hints, names)
        cls.__angzarr_sagas__ = sagas_on(cls, domain, sagas)

    @classmethod
    def table(cls) -> HandlerTable:
        """The dispatch table of the class."""
        return cls.__angzarr_table__


def sagas_of(cls: type[Aggregate]) -> tuple[type[Saga], ...]:
    """The sagas that an aggregate class declares; those of its bases are the bases' own."""
    return cls.__angzarr_sagas__


def reject(reason: str) -> NoReturn:
    """Refuse the command that is being handled. Raises CommandRejected."""
    raise CommandRejected(reason)
