"""Text in the person's own editor, kept where something goes wrong afterwards."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from angzarr.cli.outcome import FAILED, fail

FALLBACK: Final = "vi"


@contextlib.contextmanager
def edited(text: str, name: str, environ: Mapping[str, str] = os.environ) -> Generator[str]:
    """The text as it is after $VISUAL or $EDITOR has had it; `name` begins its file's name.

    What was edited is in a file that stays if the block fails, and its path is told.
    Ends the command where the editor can't be started, or fails.
    """
    handle, made = tempfile.mkstemp(prefix=f"{name}-", suffix=".json", text=True)
    path = Path(made)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        _edit(path, environ)
        yield _read(path)
    except BaseException:
        if path.exists() and path.read_bytes() != text.encode():
            sys.stderr.write(f"your text is in {path}\n")
        else:
            path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"what the editor left can't be read: {error}") from None


def _edit(path: Path, environ: Mapping[str, str]) -> None:
    editor = environ.get("VISUAL") or environ.get("EDITOR") or FALLBACK
    try:
        done = subprocess.run([*shlex.split(editor), str(path)], check=False)
    except (OSError, ValueError) as error:
        raise fail(f"the editor {editor!r} can't be started: {error}; set $EDITOR") from None
    if done.returncode:
        raise fail(f"the editor {editor!r} ended with {done.returncode}; nothing is sent", FAILED)
