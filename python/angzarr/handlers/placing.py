"""Outputs completed with what they leave out, and put into the messages of the wire.

Headers stay unset, so that the coordinator stamps (SAGA-8); where one is needed its source stays
unset, so that the coordinator fills it in (SAGA-9). Covers have domain and root alone: edition and
correlation id are those of the event (SAGA-16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import codec, wire
from angzarr.errors import InvalidInput
from angzarr.handlers.decorators import MERGES
from angzarr.handlers.outputs import Cancel, Output, Record, Schedule, Send
from angzarr.handlers.targets import Targets
from angzarr.handlers.trigger import UNDATED

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer as Repeated

SYSTEM: Final = "_angzarr"
"""The domain that timers are scheduled in (TIMER-1)."""

_STRATEGIES: Final = {number: name for name, number in MERGES.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """What completes the outputs of one event.

    root: the default root in a domain; None where each output names its own. since: what `after`
    counts from. wakes: the payloads of timers by full name. domain: that payloads are named in.
    """

    targets: Targets
    root: Callable[[str], bytes | None]
    since: datetime
    wakes: Mapping[str, object]
    domain: str

    def complete(self, output: Output, who: str) -> Output:
        """`output` with everything that it left out.

        who: the method that gave it, for messages. Raises InvalidInput for a domain that is not
        declared or can't be told (SAGA-17), a missing root, or a timer that nobody hears.
        """
        match output:
            case Send():
                return self._send(output, who)
            case Record():
                domain = self.targets.domain_for(output, who)
                return replace(output, domain=domain, root=self._root(output, domain, who))
            case Schedule():
                return self._schedule(output, who)
            case Cancel():
                return output

    def _send(self, send: Send, who: str) -> Send:
        domain = self.targets.domain_for(send, who)
        root = self._root(send, domain, who)
        merge = send.merge
        table = self.targets.declared.get(domain)
        if merge is None and table is not None:
            name = codec.payload_type(type(send.command), domain).name
            strategy = table.commands[name].merge
            merge = None if strategy is None else _STRATEGIES[strategy]
        return replace(send, domain=domain, root=root, merge=merge)

    def _root(self, output: Send | Record, domain: str, who: str) -> bytes:
        root = output.root or self.root(domain)
        if not root:
            what = f"{type(output).__name__} for {domain} without a root"
            raise InvalidInput("output.root", "set", "", f"{who} returned a {what}: root=at.root?")
        return root

    def _schedule(self, timer: Schedule, who: str) -> Schedule:
        at = timer.at
        if at is None:
            if self.since == UNDATED:
                message = f"{who} counts a timer from an event without created_at; give it at"
                raise InvalidInput("created_at", "set", "", message)
            at = self.since + (timer.after or timedelta())
        what = timer.what
        if isinstance(what, Send):
            return Schedule(timer.name, self._send(what, who), at=at)
        name = codec.payload_type(type(what), self.domain).name
        if name not in self.wakes:
            known = ", ".join(self.wakes) or "none"
            message = f"{who} scheduled {name}, which no @wakes method takes: {known}"
            raise InvalidInput("output.payload", f"one of {known}", name, message)
        return Schedule(timer.name, what, at=at)


def write(
    outputs: Iterable[Output],
    domain: str,
    commands: Repeated[wire.CommandBook],
    facts: Repeated[wire.EventBook],
) -> None:
    """Add completed outputs to the repeated fields of an answer: commands and timers in their
    order, and facts in theirs.

    domain: that the payloads of timers are named in.
    """
    for output in outputs:
        match output:
            case Send():
                _write_command(output, commands.add())
            case Record():
                _write_fact(output, facts.add())
            case Schedule():
                _write_system(_timer(output, domain), commands.add())
            case Cancel():
                _write_system(wire.CancelTimer(name=output.name), commands.add())


def _write_command(send: Send, book: wire.CommandBook) -> None:
    book.cover.domain = send.domain
    book.cover.root.value = send.root or b""
    page = book.pages.add()
    page.command.type_url, page.command.value = codec.encode(send.command, send.domain)
    if send.merge is not None:
        page.merge_strategy = MERGES[send.merge]
    if send.at_head:
        page.header.angzarr_deferred.SetInParent()


def _write_fact(record: Record, book: wire.EventBook) -> None:
    book.cover.domain = record.domain
    book.cover.root.value = record.root or b""
    page = book.pages.add()
    page.event.type_url, page.event.value = codec.encode(record.event, record.domain)
    if record.external_id:
        page.header.external_deferred.external_id = record.external_id
    else:
        page.header.angzarr_deferred.SetInParent()


def _write_system(message: Message, book: wire.CommandBook) -> None:
    book.cover.domain = SYSTEM
    book.pages.add().command.CopyFrom(_packed(message))


def _timer(timer: Schedule, domain: str) -> wire.ScheduleTimer:
    message = wire.ScheduleTimer(name=timer.name)
    if timer.at is not None:
        message.due_at.FromDatetime(timer.at)
    if isinstance(timer.what, Send):
        _write_command(timer.what, message.command)
    else:
        message.payload.CopyFrom(codec.pack(timer.what, domain))
    return message


def _packed(message: Message) -> Any:
    return codec.pack(message, SYSTEM)
