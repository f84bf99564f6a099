"""The `@rejected` methods of a class, by the command whose refusal they hear of."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any as Untyped

from angzarr import wire
from angzarr.handlers.annotations import Handler, named_type, shown, twice
from angzarr.handlers.notifications import ANY_COMMAND, Rejection, rejection_of

RejectionMethod = Callable[[Untyped, object], Untyped]
"""An object of the class and the Rejection → what the method answers."""


class RejectionMethods:
    """Methods by the class of the refused command, and at most one for all others."""

    def __init__(self) -> None:
        self._methods: dict[str, tuple[type | None, RejectionMethod]] = {}

    def add(self, handler: Handler, domain: str) -> None:
        """Enter a marked method of a class of `domain`.

        Raises TypeError for another parameter than a Rejection, or a second method of a command.
        """
        if handler.parameter is Rejection:
            command, key = None, ANY_COMMAND
        elif typing.get_origin(handler.parameter) is Rejection:
            (command,) = typing.get_args(handler.parameter)
            if not isinstance(command, type):
                raise TypeError(f"{handler.name}: {shown(handler.parameter)} must name one class")
            key = named_type(command, domain, handler.name).cls.__qualname__
        else:
            raise TypeError(f"{handler.name} must take a Rejection or Rejection[Command]")
        if key in self._methods:
            raise TypeError(twice(handler.name, self._methods[key][1].__name__, f"@rejected {key}"))
        self._methods[key] = (command, handler.function)

    def find(
        self, told: wire.RejectionNotification
    ) -> tuple[RejectionMethod, Rejection[Untyped]] | None:
        """The method for a refused command, and what it is given; None without one.

        Raises InvalidInput if the command does not parse.
        """
        found = rejection_of(told, {key: command for key, (command, _) in self._methods.items()})
        return None if found is None else (self._methods[found[0]][1], found[1])
