"""What a reaction came to, as it travels between our processes (reaction.proto)."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books, provenance
from angzarr.coordinators.flow import Executed, Outcome, Refused
from angzarr.cover import Provenance
from angzarr.errors import AngzarrError, RemoteError
from angzarr.rpc.status import DETAILS, KIND, status_of


def encoded(outcome: Outcome) -> bytes:
    """The encoded ReactResponse. The pages of `executed` travel without payloads."""
    response = wire.ReactResponse(
        executed=[_executed(item) for item in outcome.executed],
        refused=[
            wire.RefusedOutput(
                index=item.index,
                command=item.command,
                error=_error(item.error),
                is_parked=item.is_parked,
            )
            for item in outcome.refused
        ],
    )
    if outcome.failure is not None:
        response.failure.CopyFrom(_error(outcome.failure))
    return response.SerializeToString()


def decoded(data: bytes) -> Outcome:
    """The outcome in an encoded ReactResponse, its errors as RemoteErrors. Raises RemoteError
    INTERNAL for what does not parse.
    """
    try:
        response = wire.ReactResponse.FromString(data)
    except DecodeError as error:
        raise RemoteError("INTERNAL", f"the answer is no ReactResponse: {error}") from error
    return Outcome(
        executed=tuple(
            Executed(item.index, item.book, tuple(item.cascade_errors), _provenance(item))
            for item in response.executed
        ),
        refused=tuple(
            Refused(item.index, item.command, _remote(item.error), item.is_parked)
            for item in response.refused
        ),
        failure=_remote(response.failure) if response.HasField("failure") else None,
    )


def _executed(item: Executed) -> wire.ExecutedOutput:
    made = wire.ExecutedOutput(index=item.index, cascade_errors=item.cascade_errors)
    made.book.cover.CopyFrom(item.book.cover)
    made.book.next_sequence = item.book.next_sequence
    for page in item.book.pages:
        made.book.pages.add(
            header=page.header, committed=page.committed, cascade_id=page.cascade_id or None
        )
    if item.provenance is not None:
        made.provenance.ParseFromString(provenance.encoded(item.provenance))
    return made


def _provenance(item: wire.ExecutedOutput) -> Provenance | None:
    if not item.HasField("provenance"):
        return None
    found = item.provenance
    return Provenance(
        books.cover_of(found.source),
        found.source_seq,
        found.component,
        found.index,
        found.kind,
        found.occasion,
    )


def _error(error: AngzarrError) -> wire.ReactionError:
    status = status_of(error)
    trailers = dict(status.trailers)
    details = trailers.get(DETAILS, b"")
    made = wire.ReactionError(
        code=status.code.name,
        kind=str(trailers[KIND]),
        # The status has it cut to what fits into headers.
        message=str(error).encode("utf-8", "backslashreplace").decode(),
    )
    if isinstance(details, bytes):
        made.details = details
    return made


def _remote(error: wire.ReactionError) -> RemoteError:
    return RemoteError(error.code, error.message, error_kind=error.kind, details=error.details)
