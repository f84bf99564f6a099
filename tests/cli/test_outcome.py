"""Exit codes."""

import pytest

from angzarr import errors
from angzarr.cli import outcome
from angzarr.cover import Cover
from angzarr.errors import RemoteError

COVER = Cover("account", bytes(16))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("field", "limit", 1), outcome.USAGE),
        (errors.UnknownDomain("x"), outcome.USAGE),
        (errors.UnknownDeadLetter("x"), outcome.USAGE),
        (errors.CommandRejected("no"), outcome.REFUSED),
        (errors.DeadLetterRefused("no"), outcome.REFUSED),
        (errors.ReplayRunning("x"), outcome.REFUSED),
        (errors.SequenceMismatch(COVER, 1, 2), outcome.REFUSED),
        (errors.CascadeConflict(COVER, ["c"], ["f"]), outcome.REFUSED),
        (errors.EditionConflict("kid", "angzarr", "mum"), outcome.REFUSED),
        (errors.EditionExpired("kid", 0), outcome.REFUSED),
        (errors.EditionInUse("mum", ["kid"]), outcome.REFUSED),
        (errors.QuotaExceeded.of("kid", "max_pages", 5, 6), outcome.REFUSED),
        (errors.StoreClosed("data"), outcome.UNREACHABLE),
        (errors.StoreLocked("data"), outcome.UNREACHABLE),
        (errors.Overloaded("writer", 1), outcome.UNREACHABLE),
        (errors.CorruptData("a", "b", "c"), outcome.DAMAGED),
        (errors.HandlerFailed("aggregate:x", "boom"), outcome.FAILED),
        (RemoteError("FAILED_PRECONDITION", "no"), outcome.REFUSED),
        (RemoteError("UNAVAILABLE", "away"), outcome.UNREACHABLE),
        (RemoteError("DEADLINE_EXCEEDED", "late"), outcome.UNREACHABLE),
        (RemoteError("DATA_LOSS", "bad"), outcome.DAMAGED),
        (RemoteError("UNKNOWN", "?"), outcome.FAILED),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert outcome.exit_code(error) == code


def test_a_message_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    outcome.fail("a\n  b")

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "angzarr: a b\n")
