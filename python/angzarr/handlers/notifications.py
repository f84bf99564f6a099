"""What handlers hear of commands that were refused, and their answers (COMP-2, COMP-8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any as Untyped
from typing import Final, Generic, TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from angzarr import codec, wire
from angzarr.errors import InvalidInput

NOTIFICATION: Final = wire.Notification.DESCRIPTOR.full_name
ANY_COMMAND: Final = "*"

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Rejection(Generic[C]):
    """A command was refused that was sent because of one of this stream's events; in a saga or
    process manager, one that it sent itself.

    command: the refused command; the Any itself where the method takes a plain `Rejection`.
    reason: why, in the words of the refusing side. domain, root: the stream it was for.
    """

    command: C
    reason: str
    domain: str
    root: bytes
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Compensation:
    """A cascade failed that this aggregate's events are part of. sequences: those events."""

    sequences: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """An answer without events: what shall happen with the refused command (COMP-8).

    Without a flag the notification is declined: logged, and done with.
    """

    reason: str = ""
    emit_system_revocation: bool = False
    send_to_dead_letter_queue: bool = False
    escalate: bool = False
    abort: bool = False

    def message(self) -> wire.RevocationResponse:
        """The wire's form of it."""
        return wire.RevocationResponse(
            reason=self.reason,
            emit_system_revocation=self.emit_system_revocation,
            send_to_dead_letter_queue=self.send_to_dead_letter_queue,
            escalate=self.escalate,
            abort=self.abort,
        )


def read_notification(value: bytes) -> wire.RejectionNotification | wire.Compensate | None:
    """What an encoded Notification tells; None for a payload of another type.

    Raises InvalidInput if it does not parse.
    """
    try:
        return told_by(wire.Notification.FromString(value))
    except DecodeError as error:
        raise InvalidInput("notification", "an angzarr.Notification", error) from error


def told_by(
    notification: wire.Notification,
) -> wire.RejectionNotification | wire.Compensate | None:
    """What a Notification tells; None for a payload of another type.

    Raises InvalidInput if the payload does not parse.
    """
    payload = notification.payload
    try:
        match codec.full_name(payload.type_url):
            case "angzarr.RejectionNotification":
                return wire.RejectionNotification.FromString(payload.value)
            case "angzarr.Compensate":
                return wire.Compensate.FromString(payload.value)
            case _:
                return None
    except DecodeError as error:
        raise InvalidInput("notification.payload", "what its type says", error) from error


def rejection_of(
    notification: wire.RejectionNotification, wanted: Mapping[str, type | None]
) -> tuple[str, Rejection[Untyped]] | None:
    """The key in `wanted` that the refused command falls under, and what its method is given.

    wanted: classes by their key; ANY_COMMAND for a method that takes every other command. The
    class's type name is that in the refusing domain. None: nobody asked for it.
    """
    book = notification.rejected_command
    command = book.pages[0].command if book.pages else Any()
    name = codec.full_name(command.type_url)
    for key, cls in wanted.items():
        if cls is not None:
            kind: codec.PayloadType[Untyped] = codec.payload_type(cls, book.cover.domain)
            if kind.name == name:
                return key, _rejection(notification, kind.read_command(command.value))
    if ANY_COMMAND in wanted:
        return ANY_COMMAND, _rejection(notification, command)
    return None


def _rejection(notification: wire.RejectionNotification, command: object) -> Rejection[Untyped]:
    cover = notification.rejected_command.cover
    return Rejection(
        command=command,
        reason=notification.rejection_reason,
        domain=cover.domain,
        root=cover.root.value,
        correlation_id=cover.correlation_id,
    )
