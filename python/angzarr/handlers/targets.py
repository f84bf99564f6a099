"""Where outputs go: which declared domain takes a command or a fact (SAGA-17)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from angzarr import codec
from angzarr.codec import Payload
from angzarr.errors import InvalidInput
from angzarr.handlers.annotations import shown
from angzarr.handlers.outputs import Record, Send
from angzarr.handlers.table import DOMAIN, HandlerTable, table_of


@dataclass(frozen=True, slots=True)
class Targets:
    """The declared output domains, each with its class's table where a class was given.

    Without any, every domain is allowed, and each output names its own.
    """

    declared: Mapping[str, HandlerTable | None]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.declared)

    def beside(self, domain: str, table: HandlerTable | None) -> Targets:
        """These and one more, if any are declared."""
        if not self.declared or domain in self.declared:
            return self
        return Targets({**self.declared, domain: table})

    def domain_for(self, output: Send | Record, who: str) -> str:
        """The domain that `output` is for: the one it names, else the only one that fits it.

        who: the method that gave it, for messages. Raises InvalidInput for a domain that is not
        declared, for a command that the domain's class lacks, or where the choice is open.
        """
        what, known = f"{who} returned {_named(output)}", ", ".join(self.declared)
        if not output.domain:
            fitting = self._fitting(output)
            if len(fitting) == 1:
                return fitting[0]
            if not known:
                raise _wrong(output, f"{what} without a domain, and there are no declared targets")
            if not fitting:
                raise _wrong(output, f"{what}, which none of its targets takes: {known}")
            raise _wrong(output, f"{what} without a domain: one of {', '.join(fitting)}")
        what = f"{what} for {output.domain}"
        if known and output.domain not in self.declared:
            raise _wrong(output, f"{what}, which is not among its targets: {known}")
        table = self.declared.get(output.domain)
        if table is not None and not _takes(table, output):
            raise _wrong(output, f"{what}, and {table.cls.__name__} has no such command")
        return output.domain

    def _fitting(self, output: Send | Record) -> list[str]:
        tables = self.declared.items()
        knowing = [domain for domain, table in tables if table and _names(table, output)]
        return knowing or [domain for domain, table in tables if table is None]


def targets_of(given: Iterable[str | type], owner: str) -> Targets:
    """The targets that a class declares. Raises TypeError for wrong or repeated ones."""
    found: dict[str, HandlerTable | None] = {}
    for item in given:
        table = None if isinstance(item, str) else table_of(item)
        if table is None and not isinstance(item, str):
            raise TypeError(f"{owner}: {shown(item)} is neither a domain nor an Aggregate class")
        domain = item if isinstance(item, str) else table.domain if table else ""
        if not DOMAIN.fullmatch(domain):
            raise TypeError(
                f"{owner}: target {domain!r} must be 1-64 of a-z 0-9 _ - and start with a letter"
            )
        if domain in found:
            raise TypeError(f"{owner} names the target {domain} twice")
        found[domain] = table
    return Targets(found)


def payload_of(output: Send | Record) -> Payload:
    """The command or the event."""
    return output.command if isinstance(output, Send) else output.event


def _names(table: HandlerTable, output: Send | Record) -> bool:
    """Whether the class has a method for the payload."""
    payload = payload_of(output)
    name = codec.payload_type(type(payload), table.domain).name
    return name in (table.commands if isinstance(output, Send) else table.events)


def _takes(table: HandlerTable, output: Send | Record) -> bool:
    """A fact is recorded even if nobody applies it; a command without a method is a mistake."""
    return isinstance(output, Record) or _names(table, output)


def _named(output: Send | Record) -> str:
    return f"{type(output).__name__}({type(payload_of(output)).__name__})"


def _wrong(output: Send | Record, message: str) -> InvalidInput:
    return InvalidInput("output.domain", "a declared target", output.domain, message)
