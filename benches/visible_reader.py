"""A reader of the `visible` bench in a process of its own: argv is the read model, and a file for
when each event was first seen.

It asks for new rows as a query service would, again and again, and writes pairs of int64, event and
monotonic ns, when its input ends.
"""

from __future__ import annotations

import array
import os
import pathlib
import sys
import time

from angzarr.readstores import SqliteReader

PAUSE_S = 0.000_2
"""Between two looks: it counts as not yet visible, and leaves the cores to what is measured."""
NEW = "SELECT number, event FROM seen WHERE number > ?"
LOOKS_BETWEEN = 256
"""Between two looks at the input."""


def main(model: pathlib.Path, out: pathlib.Path) -> None:
    reader = SqliteReader(model)
    seen = array.array("q")
    newest = looks = 0
    os.set_blocking(0, False)
    print("ready", flush=True)
    while looks % LOOKS_BETWEEN or not is_over():
        rows = reader.rows(NEW, newest)
        now_ns = time.monotonic_ns()
        for row in rows:
            newest = row[0]
            seen.extend((row[1], now_ns))
        looks += 1
        time.sleep(PAUSE_S)
    out.write_bytes(seen.tobytes())


def is_over() -> bool:
    """Whether the input has ended."""
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
