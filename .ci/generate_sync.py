"""Generate python/angzarr/caller_sync.py from caller.py, and edition_caller_sync.py from
edition_caller.py; with --check, compare instead of writing.

Names are mapped token by token, so comments, strings apart from the module's own, and layout stay.
"""

import argparse
import io
import itertools
import pathlib
import subprocess
import sys
import tokenize

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "python" / "angzarr"

DROPPED = {"async", "await"}
RENAMED = {
    "AsyncIterator": "Iterator",
    "Caller": "SyncCaller",
    "Domain": "SyncDomain",
    "Editions": "SyncEditions",
    "Transport": "SyncTransport",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "asyncio": "time",
    "caller": "caller_sync",
    "edition_caller": "edition_caller_sync",
}
CALLER = '''"""The caller's face without `await`.

Generated from caller.py by .ci/generate_sync.py; edit that.

    with connect_sync("127.0.0.1:1310") as client:
        account = client.domain(Account)                       # or domain("account")
        sent = account.send("alice", Deposit(500))
        for event in account.events("alice"):
            print(event.sequence, event.payload)
"""
'''
EDITION_CALLER = '''"""Editions, without `await`.

Generated from edition_caller.py by .ci/generate_sync.py; edit that.

    client.editions.declare("whatif", ttl=timedelta(days=1))
    for difference in client.editions.diff("", "whatif", domain=Hand):
        print(difference.first_sequence, difference.fields)
"""
'''
HEADERS = {"caller": CALLER, "edition_caller": EDITION_CALLER}
"""What each module begins with, by the name of its source."""


def transform(source: str, header: str) -> str:
    """The synchronous text of an asynchronous module."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    lines = source.splitlines(keepends=True)
    edits: list[tuple[int, int, int, str]] = []  # row, from column, to column, replacement
    for token, after in itertools.pairwise(tokens):
        row, column = token.start
        if token.type != tokenize.NAME:
            continue
        if token.string in DROPPED:
            edits.append((row, column, after.start[1], ""))
        elif token.string in RENAMED:
            edits.append((row, column, token.end[1], RENAMED[token.string]))
    for row, start, end, text in reversed(edits):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + text + line[end:]
    docstring = next(t for t in tokens if t.type == tokenize.STRING)
    return header + "".join(lines[docstring.end[0] :])


def generate(name: str) -> str:
    """The text of NAME_sync.py, imports sorted and lines laid out by ruff."""
    text = transform((PACKAGE / f"{name}.py").read_text("utf-8"), HEADERS[name])
    target = str(target_of(name))
    for arguments in (["check", "--fix", "--quiet", "--select", "I"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", target, "-"]
        text = subprocess.run(
            command, input=text, text=True, check=True, capture_output=True
        ).stdout
    return text


def target_of(name: str) -> pathlib.Path:
    return PACKAGE / f"{name}_sync.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="exit 1 when the committed code differs"
    )
    check = parser.parse_args().check
    for name in HEADERS:
        text, target = generate(name), target_of(name)
        if not check:
            target.write_text(text, "utf-8")
        elif not target.exists() or target.read_text("utf-8") != text:
            sys.exit(f"{target.name} is stale; run `make generate`")


if __name__ == "__main__":
    main()
