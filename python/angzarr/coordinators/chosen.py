"""Which component a request is for that another process of ours passes on (DEP-12).

The coordinators' services of 0.3 name no component: a client means all that subscribe. A process
that has some of them elsewhere asks each of those by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext

COMPONENT: Final = "angzarr-component"
"""Metadata that names the only component that is meant, `kind:name` (WIRE-12)."""


T = TypeVar("T")


def meant(items: Mapping[str, T], context: CallContext) -> list[T]:
    """Those that the request is for: all, or the one that it names.

    items: by component, `kind:name`. Raises InvalidInput for a name that is none of theirs.
    """
    given = context.metadata.get(COMPONENT)
    if given is None:
        return list(items.values())
    name = given.decode("utf-8", "replace") if isinstance(given, bytes) else given
    found = items.get(name)
    if found is None:
        known = ", ".join(items) or "none"
        raise InvalidInput(COMPONENT, f"one of those that run here: {known}", name)
    return [found]


def named(context: CallContext, component: str) -> CallContext:
    """The context of the call that asks this component alone."""
    return CallContext(context.deadline_ns, {**context.metadata, COMPONENT: component})


def unnamed(context: CallContext) -> CallContext:
    """The context of what the component does then, which is nobody else's."""
    if COMPONENT not in context.metadata:
        return context
    rest = {key: value for key, value in context.metadata.items() if key != COMPONENT}
    return CallContext(context.deadline_ns, rest)
