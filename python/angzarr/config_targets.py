"""Handlers in other processes, in 0.3's words: what they are called, where they are, and what those
that can't be asked are to be given.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from angzarr.ports.components import Subscription

Port = Annotated[int, Field(ge=0, le=65535)]

CLIENT_PORT: Final = 50_052
"""Where client components listen."""

_NAME: Final = r"[a-z][a-z0-9_-]{0,127}"
_PATTERN: Final = re.compile(r"\*|[a-z_][a-z0-9_-]{0,63}(\.\*)?")
_TYPE: Final = re.compile(r"[A-Za-z_][\w.]*")


class Section(BaseModel):
    """A part of the configuration's tree; keys that it does not name are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


class Target(Section):
    """A process that holds one domain's handler. socket: a Unix socket's path."""

    domain: str = ""
    name: str = ""
    address: str = ""
    port: Port | None = None
    socket: str = ""

    @property
    def endpoint(self) -> str:
        """`tcp://…` or `unix://…`; "" when no address is set."""
        if self.socket:
            return f"unix://{self.socket}"
        if not self.address and self.port is None:
            return ""
        host, has_port = self.address or "127.0.0.1", ":" in self.address
        return (
            f"tcp://{host}"
            if has_port
            else f"tcp://{host}:{CLIENT_PORT if self.port is None else self.port}"
        )


def subscriptions_of(text: str) -> tuple[Subscription, ...]:
    """`order:OrderPaid,OrderClosed;player`: domains, each with the types that are wanted, none is
    all (SAGA-3). Raises ValueError for anything else.
    """
    found: list[Subscription] = []
    for item in _parts(text, ";"):
        domain, _, listed = item.partition(":")
        domain, types = domain.strip(), _parts(listed, ",")
        if not _PATTERN.fullmatch(domain) or not all(map(_TYPE.fullmatch, types)):
            raise ValueError(f"should be domain:TypeA,TypeB;domain2, which {item!r} is not")
        found.append(Subscription(domain, types))
    return tuple(found)


def _parts(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def _subscribed(value: object) -> object:
    """The text as it is, when it parses."""
    if isinstance(value, str):
        subscriptions_of(value)
    return value


Subscriptions = Annotated[str, BeforeValidator(_subscribed)]


class Reactor(Target):
    """A saga, process manager or projector of a client's. subscriptions: `domain:TypeA,TypeB;more`,
    those of `subscriptions` (ANGZARR_SUBSCRIPTIONS) where there are none.
    """

    name: Annotated[str, Field(pattern=f"^{_NAME}$", validate_default=True)] = ""
    subscriptions: Subscriptions = ""

    def wanted(self, others: str) -> tuple[Subscription, ...]:
        """The parsed subscriptions; others: what holds where it has none."""
        return subscriptions_of(self.subscriptions or others)


class SagaTarget(Reactor):
    """A client's saga. domain: its source, where subscriptions name none.

    targets: its output domains, none leaves them open. routing: by output domain, how the described
    root is found (SAGA-1).
    """

    targets: list[str] = []
    routing: dict[str, Literal["source_root", "correlation"]] = {}

    def wanted(self, others: str) -> tuple[Subscription, ...]:
        """As those of all; its domain, where there are none at all."""
        return subscriptions_of(self.subscriptions or others or self.domain)


class ManagerTarget(Reactor):
    """A client's process manager. domain: of its state streams, its name unless given."""

    targets: list[str] = []


class ProjectorTarget(Reactor):
    """A client's projector. domain: its source, where subscriptions name none.

    synchronous: whether SIMPLE and CASCADE requests wait for it. editions: `*` is every one.
    """

    synchronous: bool = False
    editions: list[str] = ["main"]

    def wanted(self, others: str) -> tuple[Subscription, ...]:
        """As those of all; its domain, where there are none at all."""
        return subscriptions_of(self.subscriptions or others or self.domain)
