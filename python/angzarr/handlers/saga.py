"""The base class of sagas.

class Shipping(Saga, source="order", targets=["shipment"]):
    @handles
    def on_paid(self, event: OrderPaid) -> Send:
        return Send(Ship(event.address))
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import ClassVar

from angzarr.handlers.annotations import (
    UNSAID,
    Handler,
    caller_names,
    handlers_of,
    returned_classes,
)
from angzarr.handlers.decorators import Role
from angzarr.handlers.naming import component_name
from angzarr.handlers.outputs import OUTPUTS, domain_of, root_bytes
from angzarr.handlers.reactions import (
    Domains,
    Handled,
    ReactionTable,
    domains,
    source_of,
)
from angzarr.handlers.sources import EventMethods, sources_of
from angzarr.handlers.targets import targets_of


class Saga:
    """A reaction without a state: events of some domains become commands and facts for others.

    Its `@handles`, `@wakes`, `@routes` and `@rejected` methods are found by the annotation of their
    first parameter; what is delivered to it follows from them. Each delivery has an object of its
    own, made without arguments, so nothing is remembered from one to the next.

    source, sources: one domain or several, by name (`*` is every one, `prefix.*` those below it) or
    by class. targets: the domains that it may send to, by name or class; without any, all. name:
    the component is `saga:<name>`; by default the class's own in lower case, with dashes. Mistakes
    raise TypeError when the class is made.
    """

    __angzarr_saga__: ClassVar[SagaTable]

    def __init_subclass__(
        cls,
        *,
        source: str | type | None = None,
        sources: Domains = (),
        targets: Domains = (),
        name: str | None = None,
    ) -> None:
        super().__init_subclass__()
        if source is not None and sources:
            raise TypeError(f"{cls.__name__} has source and sources; one is enough")
        table = SagaTable(
            cls,
            component_name(cls, name, "saga"),
            domains(sources if source is None else source),
            domains(targets),
        )
        for handler in handlers_of(cls, caller_names(1), must_say_result=False):
            table.add(handler)
        table.finish()
        cls.__angzarr_saga__ = table

    @classmethod
    def table(cls) -> SagaTable:
        """The dispatch table of the class."""
        return cls.__angzarr_saga__


class SagaTable(ReactionTable):
    """What a saga class does with which event."""

    def __init__(
        self,
        cls: type,
        component: str,
        sources: Iterable[str | type],
        targets: Iterable[str | type],
    ) -> None:
        super().__init__(
            cls,
            component,
            component.partition(":")[2],
            sources_of(sources, cls.__name__),
            targets_of(targets, cls.__name__),
        )
        self._routes: dict[str, EventMethods] = {}

    @property
    def has_routes(self) -> bool:
        return bool(self._routes)

    def finish(self) -> None:
        """What is told when all methods are there. Raises TypeError for what does not fit."""
        self.subscriptions = self.handles.subscriptions()
        for methods in self._routes.values():
            self.require_handled(methods)

    def add(self, handler: Handler) -> None:
        """Enter a marked method. Raises TypeError for a mistake, or a second method of a type."""
        match handler.mark.role:
            case Role.HANDLES:
                self.handles.add(handler, source_of(handler))
            case Role.WAKES:
                self.add_wakes(handler)
            case Role.REJECTED:
                self.rejections.add(handler, self.domain)
            case Role.ROUTES:
                self._add_route(handler)
                return
            case role:
                raise TypeError(f"{handler.name}: {role.value} methods don't belong in a Saga")
        _check_returned(handler)

    def route(self, me: object, handled: Handled, target: str) -> bytes | None:
        """The root that a `@routes` method names for an event in a target; None without one.

        Raises HandlerFailed if the method raises, or names no root.
        """
        for methods in (self._routes.get(target), self._routes.get("")):
            if methods is None:
                continue
            found = methods.find(handled.trigger.domain, handled.type_url)
            if found is None:
                continue
            method = found[0]
            try:
                return root_bytes(method(me, handled.payload, handled.trigger))
            except Exception as error:
                raise self.failed(method.name, error) from error
        return None

    def _add_route(self, handler: Handler) -> None:
        if inspect.iscoroutinefunction(handler.function):
            raise TypeError(f"{handler.name} is async; @routes methods are pure")
        target = domain_of(handler.mark.domain or "")
        if target and self.targets.names and target not in self.targets.names:
            raise TypeError(f"{handler.name} is for {target}, which is no target of the saga")
        self._routes.setdefault(target, self.event_methods()).add(handler)


def sagas_on(owner: type, domain: str, sagas: Iterable[object]) -> tuple[type[Saga], ...]:
    """The sagas that an aggregate class of `domain` declares (DEP-8).

    Raises TypeError for what is no saga, or takes no events of the domain.
    """
    found: list[type[Saga]] = []
    for saga in sagas:
        if not (isinstance(saga, type) and issubclass(saga, Saga)) or saga is Saga:
            raise TypeError(f"{owner.__name__}: {saga!r} is no Saga")
        if not any(source.matches(domain) for source in saga.table().sources):
            raise TypeError(f"{owner.__name__}: {saga.__name__} takes no events of {domain}")
        found.append(saga)
    return tuple(found)


def _check_returned(handler: Handler) -> None:
    if handler.returned is UNSAID:
        return
    for cls in returned_classes(handler.returned, handler.name):
        if cls not in OUTPUTS:
            raise TypeError(
                f"{handler.name} returns {cls.__name__}; a saga's methods return Send, Record, "
                "Schedule or Cancel"
            )
