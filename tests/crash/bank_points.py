"""Named points at which a process of the bank kills itself: before or after the n-th durable step
of a kind.

A step is named after the port's method, `positions.put_cursor`; an append after what it writes,
`append.Sent`, or `append.key` where it writes no page; a commit of the read store is
`statement.commit`, a row of the other one `feed.put`, a command on its way to another process
`command.sent`.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from angzarr import wire

BEFORE: Final = "before"
AFTER: Final = "after"

DURABLE: Final = {
    "events": ("append",),
    "positions": ("put", "put_cursor", "reset", "lease"),
    "obligations": ("put", "due", "retry", "close"),
    "dead_letters": ("put",),
}
"""Methods of the ports that write."""


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th step `step` from when it is armed, before or after it; hit: n, from 1."""

    step: str
    side: str
    hit: int = 1

    def __str__(self) -> str:
        return f"{self.side}:{self.step}@{self.hit}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """From its str()."""
        match = re.fullmatch(r"(before|after):([\w.]+)@(\d+)", text)
        assert match, text
        return cls(match[2], match[1], int(match[3]))


class Points:
    """Counts the steps of this process, and ends it at the one that is armed.

    told: given the point's name just before the end. die: ends the process.
    """

    def __init__(
        self, told: Callable[[str], object], die: Callable[[], object] | None = None
    ) -> None:
        self._told = told
        self._die = die or (lambda: os.kill(os.getpid(), signal.SIGKILL))
        self._armed: Point | None = None
        self._counts: Counter[tuple[str, str]] = Counter()

    def arm(self, point: Point) -> None:
        """Count from now on."""
        self._counts.clear()
        self._armed = point

    def begin(self, step: str) -> None:
        """A step begins."""
        self._at(step, BEFORE)

    def end(self, step: str) -> None:
        """It is done; one that fails is not."""
        self._at(step, AFTER)

    def _at(self, step: str, side: str) -> None:
        self._counts[step, side] += 1
        if self._armed == Point(step, side, self._counts[step, side]):
            self._told(str(self._armed))
            self._die()


class WatchedStores:
    """Stores whose writes are steps."""

    def __init__(self, stores: Any, points: Points) -> None:
        self._stores = stores
        for port, methods in DURABLE.items():
            setattr(self, port, _WatchedPort(getattr(stores, port), port, methods, points))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stores, name)


class _WatchedPort:
    """A port; every call that writes is a step."""

    def __init__(self, port: Any, name: str, methods: tuple[str, ...], points: Points) -> None:
        self._port = port
        for method in methods:
            setattr(self, method, self._watched(f"{name}.{method}", method, points))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def _watched(self, step: str, method: str, points: Points) -> Callable[..., Any]:
        real = getattr(self._port, method)

        async def call(*arguments: Any, **named: Any) -> Any:
            name = append_step(*arguments) if method == "append" else step
            points.begin(name)
            done = await real(*arguments, **named)
            points.end(name)
            return done

        return call


def append_step(_cover: object, _expected: int, pages: list[bytes], *_: object) -> str:
    """What an append is called: by the type of its first page."""
    if not pages:
        return "append.key"
    page = wire.EventPage.FromString(pages[0])
    return f"append.{re.split(r'[./]', page.event.type_url)[-1]}"


def watched_method(function: Callable[..., Any], step: str, points: Points) -> Callable[..., Any]:
    """An async method whose calls are steps."""

    async def call(*arguments: Any, **named: Any) -> Any:
        points.begin(step)
        done = await function(*arguments, **named)
        points.end(step)
        return done

    return call


def watched_function(
    function: Callable[..., Any],
    step: str,
    points: Points,
    *,
    is_step: Callable[..., bool] = lambda *_, **__: True,
) -> Callable[..., Any]:
    """A method whose calls, those that `is_step` takes, are steps."""

    def call(*arguments: Any, **named: Any) -> Any:
        if not is_step(*arguments, **named):
            return function(*arguments, **named)
        points.begin(step)
        done = function(*arguments, **named)
        points.end(step)
        return done

    return call
