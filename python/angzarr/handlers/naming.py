"""What components are called that have no domain: sagas, process managers, projectors."""

from __future__ import annotations

import re
from typing import Final

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,127}")
"""A component's name (CMD-2)."""

_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def component_name(cls: type, name: str | None, kind: str) -> str:
    """`kind:name`, as `bare_name` has it."""
    return f"{kind}:{bare_name(cls, name)}"


def bare_name(cls: type, name: str | None) -> str:
    """The name of a class that gives none is its own: `OrderFulfilment` → `order-fulfilment`.
    Raises TypeError for one outside CMD-2.
    """
    made = name if name is not None else _WORDS.sub("-", cls.__name__.strip("_")).lower()
    if not NAME.fullmatch(made):
        raise TypeError(
            f"{cls.__name__}: name {made!r} must be 1-128 of a-z 0-9 _ - and start with a letter"
        )
    return made
