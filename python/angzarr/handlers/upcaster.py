"""Old events lifted to current types.

class AccountHistory(Upcaster, domain="account"):
    @upcasts
    def in_cents(self, old: DepositedInEuros) -> Deposited:
        return Deposited(old.euros * 100)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any as Untyped
from typing import ClassVar, Final

from google.protobuf.any_pb2 import Any

from angzarr import codec, wire
from angzarr.codec import PayloadType
from angzarr.errors import AngzarrError, HandlerFailed
from angzarr.handlers.annotations import caller_names, classes_in, handlers_of, returned_classes
from angzarr.handlers.decorators import Role
from angzarr.handlers.requests import parse
from angzarr.handlers.table import DOMAIN
from angzarr.ports.components import CallContext

CHAIN_STEPS_MAX: Final = 64
"""Steps from a stored type to the current one (UPC-5); more is a circle."""

_Step = tuple[PayloadType[Untyped], Callable[[Untyped, object], Untyped]]


class Upcaster:
    """The router of a domain's `@upcasts` methods, chained by full type name.

    A method takes an event of an old type and returns one of a newer type; the result goes to the
    method of its own type, until there is none. Types without a method pass through. Mistakes raise
    TypeError when the class is made.
    """

    __angzarr_steps__: ClassVar[dict[str, _Step]]
    __angzarr_domain__: ClassVar[str]

    def __init_subclass__(cls, *, domain: str | None = None) -> None:
        super().__init_subclass__()
        if domain is None or not DOMAIN.fullmatch(domain):
            raise TypeError(f'{cls.__name__} needs a domain of 1-64 a-z 0-9 _ -: domain="…"')
        cls.__angzarr_domain__ = domain
        cls.__angzarr_steps__ = _steps(cls, domain)


class LocalUpcaster:
    """Runs an Upcaster class on encoded messages; implements ports.components.Upcaster."""

    def __init__(self, cls: type[Upcaster]) -> None:
        self.domain = cls.__angzarr_domain__
        self._steps = cls.__angzarr_steps__
        self._upcaster = cls()

    @property
    def name(self) -> str:
        """`upcaster:<domain>`."""
        return f"upcaster:{self.domain}"

    @property
    def takes(self) -> tuple[str, ...]:
        """Full names of the types that it has methods for."""
        return tuple(self._steps)

    async def upcast(self, request: bytes, context: CallContext) -> bytes:
        """UpcastRequest → UpcastResponse: as many pages, in order, each with its payload lifted.

        Raises CorruptData for a payload that does not parse, HandlerFailed if a method raises, or
        for a chain of more than CHAIN_STEPS_MAX steps.
        """
        wanted = parse(wire.UpcastRequest, request, "upcast")
        for page in wanted.events:
            if codec.full_name(page.event.type_url) in self._steps:
                self._lift(page)
        return wire.UpcastResponse(events=wanted.events).SerializeToString()

    def _lift(self, page: wire.EventPage) -> None:
        name = codec.full_name(page.event.type_url)
        kind, method = self._steps[name]
        event: object = kind.read_event(
            page.event.value, f"page {page.header.sequence} of {self.domain}"
        )
        chain = [name]
        while True:
            event, newer = self._call(method, event, chain[-1])
            step = self._steps.get(newer.name)
            if step is None:
                page.event.CopyFrom(Any(type_url=newer.type_url, value=newer.encode(event)))
                return
            chain.append(newer.name)
            if len(chain) > CHAIN_STEPS_MAX:
                types = " → ".join(dict.fromkeys(chain))
                raise HandlerFailed(self.name, f"over {CHAIN_STEPS_MAX} steps through {types}")
            method = step[1]

    def _call(
        self, method: Callable[[Untyped, object], Untyped], event: object, name: str
    ) -> tuple[object, PayloadType[Untyped]]:
        try:
            newer: object = method(self._upcaster, event)
            kind: PayloadType[Untyped] = codec.payload_type(type(newer), self.domain)  # type: ignore[type-var]
            return newer, kind
        except AngzarrError:
            raise
        except Exception as error:
            what = f"upcasting {name}: {type(error).__name__}: {error}"
            raise HandlerFailed(self.name, what) from error


def _steps(cls: type, domain: str) -> dict[str, _Step]:
    steps: dict[str, _Step] = {}
    for handler in handlers_of(cls, caller_names(2)):
        if handler.mark.role is not Role.UPCASTS:
            what = f"{handler.mark.role.value} methods don't belong in an Upcaster"
            raise TypeError(f"{handler.name}: {what}")
        newer = returned_classes(handler.returned, handler.name)
        if not newer:
            raise TypeError(f"{handler.name} must return an event")
        for old in classes_in(handler.parameter, handler.name):
            try:
                kind: PayloadType[Untyped] = codec.payload_type(old, domain)
                lifted = [codec.payload_type(one, domain).name for one in newer]
            except TypeError as error:
                raise TypeError(f"{handler.name}: {error}") from error
            if kind.name in steps:
                other = steps[kind.name][1].__name__
                raise TypeError(f"{handler.name} and {other} both handle {kind.name}")
            if lifted == [kind.name]:
                raise TypeError(f"{handler.name} turns {kind.name} into itself, without end")
            steps[kind.name] = (kind, handler.function)
    return steps
