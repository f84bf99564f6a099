"""What the assertions of given/when/then share: differences shown, and async code run."""

from __future__ import annotations

import asyncio
import difflib
import threading
from collections.abc import Coroutine
from pprint import pformat
from typing import Any as Untyped
from typing import Final, TypeVar, cast

T = TypeVar("T")

WIDTH_COLUMNS: Final = 88


def assert_fields(state: object, fields: dict[str, object]) -> None:
    """Assert that the state has these values."""
    __tracebackhide__ = True
    found = {name: getattr(state, name) for name in fields}
    if found != fields:
        raise AssertionError("another state than expected:\n" + difference(fields, found))


def difference(expected: object, found: object) -> str:
    """Lines of both, marked - where only expected and + where only found."""
    lines = difflib.ndiff(_lines(expected), _lines(found))
    return "\n".join(line for line in lines if not line.startswith("?"))


def _lines(value: object) -> list[str]:
    return shown(value).splitlines()


def shown(value: Untyped) -> str:
    """Items of a tuple, or fields of a dict, a line each."""
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return "\n".join(pformat(item, width=WIDTH_COLUMNS) for item in items) or "nothing"
    return "\n".join(f"{name} = {item!r}" for name, item in value.items())


def run(work: Coroutine[object, object, T]) -> T:
    """The result of `work`: in a loop of its own, in a thread of its own where one runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
