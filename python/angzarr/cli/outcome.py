"""How a command ends: one line on stderr, and an exit code that scripts can tell apart."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from typing import Final

import typer

from angzarr import errors

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
UNREACHABLE: Final = 4
DAMAGED: Final = 5
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 failed; 2 wrong use, input or configuration; "
    "3 refused by the domain or for the stream's sequence; "
    "4 server or store not reachable, or too busy: try again; 5 damaged data; 130 interrupted."
)

_REFUSALS: Final = (
    errors.CommandRejected,
    errors.DeadLetterRefused,
    errors.ReplayRunning,
    errors.SequenceError,
    errors.SequenceExhausted,
    errors.CascadeConflict,
    errors.CascadeDecided,
    errors.DivergenceConflict,
    errors.EditionConflict,
    errors.EditionExpired,
    errors.EditionInUse,
    errors.QuotaExceeded,
    errors.MainProtected,
    errors.PendingPages,
)
_WRONG: Final = (
    errors.InvalidInput,
    errors.UnknownDomain,
    errors.UnknownCascade,
    errors.UnknownEdition,
    errors.UnknownDeadLetter,
)
_AWAY: Final = (errors.StoreUnavailable, errors.Overloaded)

_CODES_OF_GRPC: Final = {
    "INVALID_ARGUMENT": USAGE,
    "NOT_FOUND": USAGE,
    "UNIMPLEMENTED": USAGE,
    "PERMISSION_DENIED": USAGE,
    "FAILED_PRECONDITION": REFUSED,
    "ABORTED": REFUSED,
    "ALREADY_EXISTS": REFUSED,
    "OUT_OF_RANGE": REFUSED,
    "UNAVAILABLE": UNREACHABLE,
    "DEADLINE_EXCEEDED": UNREACHABLE,
    "RESOURCE_EXHAUSTED": UNREACHABLE,
    "DATA_LOSS": DAMAGED,
}


def exit_code(error: BaseException) -> int:
    """The code for an error; REFUSED only where the domain or the stream said no."""
    if isinstance(error, errors.RemoteError):
        return _CODES_OF_GRPC.get(error.code, FAILED)
    if isinstance(error, _REFUSALS):
        return REFUSED
    if isinstance(error, _WRONG):
        return USAGE
    if isinstance(error, _AWAY):
        return UNREACHABLE
    if isinstance(error, errors.CorruptData):
        return DAMAGED
    return FAILED


@contextlib.contextmanager
def told(address: str = "") -> Generator[None]:
    """Turn errors of angzarr into one line and an exit code; other errors are bugs and go on.

    address: of the server that is called; named where it can't be reached.
    """
    try:
        yield
    except errors.AngzarrError as error:
        message = str(error)
        if address and isinstance(error, errors.RemoteError) and error.code == "UNAVAILABLE":
            why = message.rpartition(": ")[2]  # of gRPC's chain of causes the last one
            message = f"no server answers at {address} ({why}); start one: angzarr serve app.py"
        raise fail(message, exit_code(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of our output, such as `head`, has seen enough; the rest can't be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None


def fail(message: str, code: int = FAILED) -> typer.Exit:
    """Print the message as one line on stderr; the exit to raise."""
    sys.stderr.write(f"angzarr: {' '.join(message.split())}\n")
    return typer.Exit(code)
