"""The hands that pokerkit publishes in its own tests, read from the installed package.

The hands of Kim 2024 are texts in `test_papers`; those of the 2023 World Series of Poker are
programs in `test_wsop`. Both end with an assertion of the stacks: the published result. Run as a
program it writes the files in angzarr/examples/holdem/hands:

    python tests/examples/holdem/published.py python/angzarr/examples/holdem/hands
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

from pokerkit import HandHistory

PAPERS = {
    "test_dwan_ivey_2009": "dwan-ivey-2009",
    "test_phua_xuan_2019": "phua-xuan-2019",
    "test_antonius_blom_2009": "antonius-blom-2009",
    "test_arieh_yockey_2019": "arieh-yockey-2019",
}
WSOP = {
    "wsop-2023-43-day-5": ("test_2023_43_5", "2023 World Series of Poker Event #43, Day 5"),
    "wsop-2023-54-day-4": ("test_2023_54_4", "2023 World Series of Poker Event #54, Day 4"),
}
NOTICE = """\
# From pokerkit {version}, pokerkit/tests/{module}.py. MIT License, see LICENSE in this folder.
# Copyright (c) 2023-2026 Universal, Open, Free, and Transparent Computer Poker Research Group
# finishing_stacks are the stacks that the test of the hand asserts.
"""


def published() -> Iterator[tuple[str, HandHistory]]:
    """File name without suffix, and a hand with its published finishing stacks."""
    papers = importlib.import_module("pokerkit.tests.test_papers")
    for method, name in PAPERS.items():
        yield name, _paper(getattr(papers.Kim2024TestCase, method))
    for name, (module, event) in WSOP.items():
        case = importlib.import_module(f"pokerkit.tests.test_wsop.{module}").StateTestCase
        for method in sorted(vars(case), key=_number):
            if method.startswith("test_"):
                yield name, _played(case, method, event)


def _paper(function: object) -> HandHistory:
    tree = _tree(function)
    text = next(node.value for node in ast.walk(tree) if _is_history(node))
    history = HandHistory.loads(textwrap.dedent(text))
    history.finishing_stacks = _asserted_stacks(tree, list(history.starting_stacks))
    return history


def _is_history(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and "variant =" in str(node.value)


def _played(case: type[TestCase], method: str, event: str) -> HandHistory:
    """The game and state of a test, caught where the test hands them to pokerkit's own notation."""
    caught: list[HandHistory] = []
    original = HandHistory.from_game_state

    def catching(game: object, state: object) -> HandHistory:
        caught.append(original(game, state, event=event, hand=method[5:]))
        return original(game, state)

    HandHistory.from_game_state = catching
    try:
        getattr(case(method), method)()
    finally:
        HandHistory.from_game_state = original
    history = caught[0]
    tree = _tree(getattr(case, method))
    history.finishing_stacks = _asserted_stacks(tree, list(history.starting_stacks))
    return history


def _asserted_stacks(tree: ast.AST, starting: list[int]) -> list[object]:
    """The list in the last `assertEqual(state.stacks, […])`, or that of payoffs added up."""
    found: list[object] | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "assertEqual":
            left, right = node.args[:2]
            if not isinstance(left, ast.Attribute) or not isinstance(right, ast.List):
                continue
            values = ast.literal_eval(right)
            if left.attr == "stacks":
                found = values
            elif left.attr == "payoffs":
                found = [a + b for a, b in zip(starting, values, strict=True)]
    assert found is not None, "the test asserts no stacks"
    return found


def _tree(function: object) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _number(name: str) -> int:
    parts = name.split("_")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def texts() -> dict[str, str]:
    """Content by file name: what the shipped files must equal."""
    from importlib.metadata import version

    files: dict[str, list[HandHistory]] = {}
    for name, history in published():
        files.setdefault(name, []).append(history)
    written: dict[str, str] = {}
    for name, histories in files.items():
        module = "test_wsop/" + WSOP[name][0] if name in WSOP else "test_papers"
        notice = NOTICE.format(version=version("pokerkit"), module=module)
        many = len(histories) > 1
        body = HandHistory.dumps_all(histories) if many else histories[0].dumps()
        written[name + (".phhs" if many else ".phh")] = f"{notice}\n{body.strip()}\n"
    return written


if __name__ == "__main__":
    for file_name, text in texts().items():
        Path(sys.argv[1], file_name).write_text(text)
        print(file_name, len(text), text.count("variant ="))
