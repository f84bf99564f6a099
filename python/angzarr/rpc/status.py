"""Errors on the wire: the only place that knows gRPC codes (WIRE-10, WIRE-11, storage.md).

`status_of` turns an exception into code, message and trailing metadata; `error_of` turns them back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote, unquote

import grpc

from angzarr import errors, wire
from angzarr.rpc import status_text

KIND: Final = "angzarr-error-kind"
FIELD: Final = "angzarr-error-field"
LIMIT: Final = "angzarr-error-limit"
VALUE: Final = "angzarr-error-value"
DETAILS: Final = "grpc-status-details-bin"

HEADER_BYTES_MAX: Final = 7 * 1024
"""What message and details may fill together: gRPC clients refuse headers from 8 KiB on."""

MESSAGE_BYTES_MIN: Final = 1024
"""What a message keeps beside details of any size."""

Code = grpc.StatusCode
Trailers = tuple[tuple[str, str | bytes], ...]

_log = logging.getLogger(__name__)
_PLAIN = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "%")
_CODES: Final = {code.name: code for code in Code}
_NUMBERS: Final = {code: cast("tuple[int, str]", code.value)[0] for code in Code}

_CODE_OF_KIND: Final = {
    "invalid_input": Code.INVALID_ARGUMENT,
    "rejected": Code.FAILED_PRECONDITION,
    "sequence_mismatch": Code.FAILED_PRECONDITION,
    "sequence_conflict": Code.FAILED_PRECONDITION,
    "parked": Code.ABORTED,
    "cascade_conflict": Code.ABORTED,
    "cascade_decided": Code.FAILED_PRECONDITION,
    "edition": Code.FAILED_PRECONDITION,
    "not_found": Code.NOT_FOUND,
    "overloaded": Code.RESOURCE_EXHAUSTED,
    "too_large": Code.RESOURCE_EXHAUSTED,
    "unavailable": Code.UNAVAILABLE,
    "corrupt": Code.DATA_LOSS,
    "internal": Code.INTERNAL,
    "reaction_failed": Code.INTERNAL,  # of a cause that has no code
}


@dataclass(frozen=True, slots=True)
class Status:
    """An RPC's end.

    trailers: of a failed one `angzarr-error-kind` always; field, limit and value for wrong input;
    the raw details where there are any.
    """

    code: grpc.StatusCode
    message: str
    trailers: Trailers

    @property
    def number(self) -> int:
        """gRPC's number of the code."""
        return _NUMBERS[self.code]


OK: Final = Status(Code.OK, "", ())


def status_of(error: BaseException) -> Status:
    """Code, message and trailing metadata for `error`.

    An exception that is no AngzarrError is a defect: INTERNAL, kind `internal`, logged with its
    traceback.
    """
    if isinstance(error, errors.RemoteError):
        code = _CODES.get(error.code, Code.UNKNOWN)
        kind = error.error_kind or kind_of(error.code, error.message)
        return _status(code, error.message, kind, error.details, _input_trailers(error))
    if isinstance(error, errors.HandlerFailed):
        return _status(_cause_code(error), str(error), error.kind)
    if isinstance(error, errors.AngzarrError):
        kind = _kind(error)
        return _status(
            _code(error, kind), str(error), kind, _details(error), _input_trailers(error)
        )
    if isinstance(error, TimeoutError | asyncio.CancelledError):
        is_timeout = isinstance(error, TimeoutError)
        code = Code.DEADLINE_EXCEEDED if is_timeout else Code.CANCELLED
        return _status(code, str(error) or code.name.lower(), "unavailable")
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return _status(Code.INTERNAL, f"{type(error).__name__}: {error}", "internal")


def error_of(
    code: str, message: str, trailers: Iterable[tuple[str, str | bytes]]
) -> errors.AngzarrError:
    """The error that a peer's status stands for: by kind if it names one, else by code and message.

    code: the gRPC code's name. Its text is `message`, letter for letter. RemoteError where no class
    describes it, and where a class would not stand for the same code.
    """
    trailers = tuple(trailers)
    found = dict(trailers)
    details = _binary(found.get(DETAILS))
    kind = _text(found.get(KIND))
    facts = status_text.Facts(
        code=code,
        kind=kind or kind_of(code, message),
        message=message,
        details=details,
        field=unquote(_text(found.get(FIELD))),
        limit=unquote(_text(found.get(LIMIT))),
        value=unquote(_text(found.get(VALUE))),
    )
    denied = code == Code.PERMISSION_DENIED.name
    error = errors.NotPermitted(message) if denied else status_text.typed(facts)
    if error is None or _code(error, _kind(error)).name != code:
        return as_it_came(code, message, trailers)
    error.args = (message,)
    return error


def error_from_rpc(call: grpc.RpcError) -> errors.AngzarrError:
    """The error that a failed call of ours stands for (`error_of`)."""
    code, message, trailers = parts_of(call)
    if code == "CANCELLED" and KIND not in dict(trailers):
        # gRPC's own answer to a call that meets a stopping server; nobody cancelled it here.
        code, message = "UNAVAILABLE", "the server is stopping, or the connection was closed"
    return error_of(code, message, trailers)


def remote_error(call: grpc.RpcError) -> errors.RemoteError:
    """A component's status as it came (CMD-11)."""
    return as_it_came(*parts_of(call))


def as_it_came(
    code: str, message: str, trailers: Iterable[tuple[str, str | bytes]]
) -> errors.RemoteError:
    """A peer's status with its code, message and trailers unchanged."""
    found = dict(trailers)
    return errors.RemoteError(
        code,
        message,
        error_kind=_text(found.get(KIND)),
        details=_binary(found.get(DETAILS)),
        field=unquote(_text(found.get(FIELD))),
        limit=unquote(_text(found.get(LIMIT))),
        value=unquote(_text(found.get(VALUE))),
    )


def parts_of(call: grpc.RpcError) -> tuple[str, str, Trailers]:
    """Code name, message and trailing metadata of a failed call, asynchronous or not."""
    if isinstance(call, grpc.aio.AioRpcError | grpc.Call):
        # Untyped in grpc: a sequence of pairs, or None.
        trailers = cast("Iterable[tuple[str, str | bytes]] | None", call.trailing_metadata())
        return call.code().name, call.details() or "", tuple(trailers or ())
    return Code.UNKNOWN.name, str(call), ()


def kind_of(code: str, message: str) -> str:
    """The kind of a status that names none (WIRE-11, CMD-11)."""
    if code in ("FAILED_PRECONDITION", "ABORTED"):
        if message.startswith("Sequence mismatch"):
            return "parked" if code == "ABORTED" else "sequence_mismatch"
        if message.startswith("Sequence conflict"):
            return "sequence_conflict"
        if message.startswith("Cascade conflict"):
            return "cascade_conflict"
        return "rejected" if code == "FAILED_PRECONDITION" else "internal"
    if code == "RESOURCE_EXHAUSTED":
        return "too_large" if "message larger than max" in message else "overloaded"
    return _KIND_OF_CODE.get(code, "internal")


_KIND_OF_CODE: Final = {
    "INVALID_ARGUMENT": "invalid_input",
    "PERMISSION_DENIED": "rejected",
    "NOT_FOUND": "not_found",
    "OUT_OF_RANGE": "too_large",
    "UNAVAILABLE": "unavailable",
    "DEADLINE_EXCEEDED": "unavailable",
    "CANCELLED": "unavailable",
    "DATA_LOSS": "corrupt",
}


def _kind(error: errors.AngzarrError) -> str:
    if isinstance(error, errors.SequenceMismatch) and error.is_parked:
        return "parked"
    return error.kind


def _code(error: errors.AngzarrError, kind: str) -> grpc.StatusCode:
    if isinstance(error, errors.RemoteError):
        return _CODES.get(error.code, Code.UNKNOWN)
    if isinstance(error, errors.NotPermitted):
        return Code.PERMISSION_DENIED
    if isinstance(error, errors.ReplayRunning):
        return Code.ABORTED
    if isinstance(error, errors.InvalidDivergence):
        return Code.INVALID_ARGUMENT
    if isinstance(error, errors.SequenceExhausted):
        return Code.OUT_OF_RANGE
    if isinstance(error, errors.CascadeRolledBack):
        return Code.ABORTED
    if isinstance(error, errors.ReactionFailed):
        return _cause_code(error)
    return _CODE_OF_KIND[kind]


def _cause_code(error: errors.HandlerFailed | errors.ReactionFailed) -> grpc.StatusCode:
    """A failure of a handler or reaction has the code of what it raised; INTERNAL for what has
    none.
    """
    cause = error.__cause__
    if isinstance(cause, errors.HandlerFailed):
        return _cause_code(cause)
    if isinstance(cause, errors.AngzarrError):
        return _code(cause, _kind(cause))
    return Code.DEADLINE_EXCEEDED if isinstance(cause, TimeoutError) else Code.INTERNAL


def _details(error: errors.AngzarrError) -> bytes:
    if isinstance(error, errors.SequenceError | errors.ReactionFailed):
        return error.book
    if isinstance(error, errors.CascadeConflict):
        detail = wire.CascadeConflictDetail(
            cascade_ids=error.cascade_ids, overlapping_fields=error.fields
        )
        return detail.SerializeToString()
    return b""


def _input_trailers(error: errors.AngzarrError) -> Trailers:
    if isinstance(error, errors.RemoteError):
        if not error.field:
            return ()
    elif not isinstance(error, errors.InvalidInput) or error.kind == "edition":
        return ()
    values = ((FIELD, error.field), (LIMIT, error.limit), (VALUE, error.value))
    return tuple((key, encode(value)) for key, value in values)


def _status(
    code: grpc.StatusCode, message: str, kind: str, details: bytes = b"", more: Trailers = ()
) -> Status:
    trailers: Trailers = ((KIND, kind), *more)
    room = HEADER_BYTES_MAX - len(details) * 4 // 3 - sum(len(value) for _, value in trailers)
    if details:
        trailers = (*trailers, (DETAILS, details))
    return Status(code, _cut(message, max(room, MESSAGE_BYTES_MIN)), trailers)


def _cut(message: str, size_bytes_max: int) -> str:
    """`message` cut at a character so that its form on the wire, percent-encoded, fits."""
    message = message.encode("utf-8", "backslashreplace").decode()
    if len(message) * 12 <= size_bytes_max:
        return message
    size_bytes = 0
    for index, character in enumerate(message):
        size_bytes += (
            1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        )
        if size_bytes > size_bytes_max:
            return message[:index]
    return message


def encode(text: str, size_bytes_max: int = errors.VALUE_BYTES_MAX) -> str:
    """`text` as percent-encoded UTF-8 of at most `size_bytes_max`, cut at a character (WIRE-11)."""
    quoted = quote(text, safe=_PLAIN, errors="backslashreplace")
    if len(quoted) <= size_bytes_max:
        return quoted
    parts: list[str] = []
    left = size_bytes_max
    for character in text:
        part = quote(character, safe=_PLAIN, errors="backslashreplace")
        left -= len(part)
        if left < 0:
            break
        parts.append(part)
    return "".join(parts)


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _binary(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
