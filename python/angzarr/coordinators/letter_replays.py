"""What a dead command becomes when it is sent again (DLQ-8); pure."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators import books, provenance, validate
from angzarr.cover import Cover
from angzarr.errors import CorruptData, InvalidInput
from angzarr.ports.components import CallContext
from angzarr.ports.dead_letters import PROVENANCE

_CORRELATION: Final = "x-correlation-id"
_KEPT: Final = ("traceparent", "tracestate")
"""Request metadata that goes on to the command (WIRE-12); the rest belongs to the replay's call."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A command to be sent, and where to.

    is_notification: an envelope of COMP-2, for HandleCompensation. provenance: that of such a one,
    encoded, so that what was answered once is not done twice (COMP-5); b"" where it is not known.
    """

    command: wire.CommandBook
    correlation_id: str
    is_notification: bool
    provenance: bytes = b""

    def metadata(self, context: CallContext) -> Mapping[str, str | bytes]:
        """What travels beside the command."""
        found = {key: value for key, value in context.metadata.items() if key in _KEPT}
        found[_CORRELATION] = self.correlation_id
        if self.provenance:
            found[provenance.METADATA] = self.provenance
        return found


def replay_of(letter: wire.AngzarrDeadLetter, payloads: Sequence[Any] = ()) -> Replay:
    """The letter's command under a new correlation id, and without the provenance of the reaction
    that sent it.

    payloads: in the place of the command's own, one a page; none keeps those. Raises InvalidInput
    for another number of them, CorruptData for a provenance that is none.
    """
    command = wire.CommandBook()
    command.CopyFrom(letter.rejected_command)
    correlation_id = str(uuid.uuid4())
    command.cover.correlation_id = correlation_id
    if payloads:
        _replace(command, payloads)
    if _is_notification(letter.rejected_command):
        return Replay(command, correlation_id, True, _provenance(letter))
    for page in command.pages:
        if page.header.HasField("angzarr_deferred"):
            # Deferred it stays, to be appended at the head; whose output it was it says no longer.
            page.header.angzarr_deferred.Clear()
    return Replay(command, correlation_id, False)


def stream_of(command: wire.CommandBook) -> tuple[Cover | None, int | None]:
    """The command's stream and where its branch is to start; no stream for one to `_angzarr`, whose
    commands have no sequence. Raises InvalidInput for a cover that CMD-2 does not allow.
    """
    cover = validate.cover(command.cover)
    return (cover if cover.root else None), validate.divergence(command.cover)


def _replace(command: wire.CommandBook, payloads: Sequence[Any]) -> None:
    if len(payloads) != len(command.pages):
        limit = f"one a page of the command: {len(command.pages)}, or none"
        raise InvalidInput("payloads", limit, len(payloads))
    for page, payload in zip(command.pages, payloads, strict=True):
        page.command.CopyFrom(payload)


def _is_notification(command: wire.CommandBook) -> bool:
    urls = [page.command.type_url for page in command.pages]
    return any(books.full_name(url) == "angzarr.Notification" for url in urls)


def _provenance(letter: wire.AngzarrDeadLetter) -> bytes:
    text = letter.metadata.get(PROVENANCE, "")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise CorruptData("a dead letter's metadata", text, "a provenance in base64") from error
