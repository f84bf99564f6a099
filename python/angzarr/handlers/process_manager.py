"""The base class of process managers.

class Fulfilment(ProcessManager, domain="fulfilment", sources=["order", "shipment"],
                 targets=["shipment"]):
    is_paid: bool = False

    @handles
    def on_paid(self, event: OrderPaid, at: Trigger) -> Iterator[Paid | Send]:
        yield Paid()
        yield Send(Ship(event.address), root=at.root)

    @applies
    def paid(self, event: Paid) -> None:
        self.is_paid = True
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import ClassVar, Final, dataclass_transform

from angzarr.cover import Cover
from angzarr.handlers.annotations import (
    UNSAID,
    Handler,
    caller_names,
    fields_of,
    handlers_of,
    returned_classes,
)
from angzarr.handlers.decorators import Role
from angzarr.handlers.naming import component_name
from angzarr.handlers.outputs import OUTPUTS
from angzarr.handlers.reactions import (
    Domains,
    ReactionTable,
    domains,
    source_of,
)
from angzarr.handlers.sources import Source, sources_of
from angzarr.handlers.state import make_fields, state_codec
from angzarr.handlers.table import DOMAIN, HandlerTable, check_returned
from angzarr.handlers.targets import targets_of

_STATEFUL: Final = (Role.APPLIES, Role.REJECTED)


@dataclass_transform(field_specifiers=(dataclasses.field,))
class ProcessManager:
    """A reaction with a state: one workflow, which events of several domains move on.

    The events that belong together carry one correlation id, and the workflow's state is a stream
    of `domain` under it: events of its own, given by its methods and applied by its `@applies`
    methods, before the method goes on where it yields them. The annotated attributes are the state,
    as an aggregate's are. Beside events, methods give what a saga's do; a Send or Record names its
    root. Events without a correlation id are not delivered.

    domain: that of its streams; it may be among the sources, to follow on events of its own.
    source, sources, targets, name: as a Saga's; the component is `process_manager:<name>`.
    snapshot_every: events after which the state is stored with them, so that fewer are read; 0 is
    never. Mistakes raise TypeError when the class is made.
    """

    __angzarr_process__: ClassVar[ProcessTable]
    __angzarr_table__: ClassVar[HandlerTable]

    def __init_subclass__(
        cls,
        *,
        domain: str | None = None,
        source: str | type | None = None,
        sources: Domains = (),
        targets: Domains = (),
        name: str | None = None,
        snapshot_every: int = 0,
    ) -> None:
        super().__init_subclass__()
        if domain is None or not DOMAIN.fullmatch(domain):
            raise TypeError(f'{cls.__name__} needs a domain of 1-64 a-z 0-9 _ -: domain="…"')
        if source is not None and sources:
            raise TypeError(f"{cls.__name__} has source and sources; one is enough")
        if "table" in vars(cls) or "table" in inspect.get_annotations(cls):
            raise TypeError(f"{cls.__name__}.table hides ProcessManager.table(); rename it")
        if snapshot_every < 0:
            raise TypeError(f"{cls.__name__}: snapshot_every is a count of events, 0 for never")
        names = caller_names(1)
        hints = fields_of(cls, names)
        make_fields(cls, hints)
        component = component_name(cls, name, "process_manager")
        state = HandlerTable(cls, domain, state_codec(cls, domain, hints), component)
        handlers = list(handlers_of(cls, names, must_say_result=False))
        for handler in handlers:
            if handler.mark.role in _STATEFUL:
                state.add(handler)
        table = ProcessTable(
            state,
            sources=domains(sources if source is None else source),
            targets=domains(targets),
            snapshot_every=snapshot_every,
        )
        for handler in handlers:
            table.add(handler)
        table.finish()
        cls.__angzarr_process__ = table
        cls.__angzarr_table__ = state

    @classmethod
    def table(cls) -> ProcessTable:
        """The dispatch table of the class."""
        return cls.__angzarr_process__


class ProcessTable(ReactionTable):
    """What a process manager class does with which event.

    state: what concerns its state and its own events. prepares: the `@prepares` methods.
    """

    def __init__(
        self,
        state: HandlerTable,
        *,
        sources: tuple[str | type, ...],
        targets: tuple[str | type, ...],
        snapshot_every: int,
    ) -> None:
        owner = state.cls.__name__
        super().__init__(
            state.cls,
            state.component,
            state.domain,
            tuple(_own(source, state) for source in sources_of(sources, owner)),
            targets_of(targets, owner),
        )
        self.state = state
        self.snapshot_every = snapshot_every
        self.prepares = self.event_methods()
        self.own_events = frozenset(state.event_types())

    def add(self, handler: Handler) -> None:
        """Enter a marked method; those that concern the state are in `state` already.

        Raises TypeError for a mistake, or a second method of a type.
        """
        match handler.mark.role:
            case Role.HANDLES:
                self.handles.add(handler, source_of(handler))
                check_returned(self.state, handler, others=OUTPUTS)
            case Role.WAKES:
                self.add_wakes(handler)
                check_returned(self.state, handler, others=OUTPUTS)
            case Role.PREPARES:
                self.prepares.add(handler)
                _check_covers(handler)
            case Role.REJECTED:
                _check_no_outputs(handler)
                check_returned(self.state, handler)
            case Role.APPLIES:
                pass
            case role:
                what = f"{role.value} methods don't belong in a ProcessManager"
                raise TypeError(f"{handler.name}: {what}")

    def finish(self) -> None:
        """What is told when all methods are there. Raises TypeError for what does not fit."""
        self.subscriptions = self.handles.subscriptions()
        self.require_handled(self.prepares)


def _own(source: Source, state: HandlerTable) -> Source:
    """A source that is the process manager's own domain has the events that it applies."""
    return Source(source.pattern, state) if source.pattern == state.domain else source


def _check_no_outputs(handler: Handler) -> None:
    if handler.returned is UNSAID:
        return
    for cls in returned_classes(handler.returned, handler.name):
        if cls in OUTPUTS:
            raise TypeError(
                f"{handler.name} returns {cls.__name__}; a process manager answers a rejection "
                "with events or a Revocation, and may follow on its own events"
            )


def _check_covers(handler: Handler) -> None:
    if handler.returned is UNSAID:
        return
    for cls in returned_classes(handler.returned, handler.name):
        if not issubclass(cls, Cover):
            raise TypeError(f"{handler.name} returns {cls.__name__}; @prepares methods name Covers")
