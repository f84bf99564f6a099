"""Which components a process has, and where each of them runs (DEP-1, DEP-2, DEP-10, DEP-16)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from angzarr.config import Config
from angzarr.errors import InvalidInput

LOCAL: Final = "local"
HANDLER: Final = "handler"
COORDINATOR: Final = "coordinator"
QUERY: Final = "query:events"
STREAM: Final = "stream:events"
KINDS: Final = (
    "aggregate",
    "saga",
    "process_manager",
    "projector",
    "query",
    "upcaster",
    "stream",
    "gateway",
    "reaper",
)
HERE_KINDS: Final = (
    "aggregate",
    "saga",
    "process_manager",
    "projector",
    "query",
    "stream",
)


@dataclass(frozen=True, slots=True)
class Component:
    """One component and its endpoint.

    name: `kind:name`. endpoint: `local`, `tcp://host:port` or `unix:///path`. role: what listens
    there.
    definition: the class by module and name, "" for one that only configuration names.
    origin: who set the endpoint.
    """

    name: str
    endpoint: str = LOCAL
    role: str = HANDLER
    definition: str = ""
    origin: str = "default"
    accepts_snapshots: bool = False

    @property
    def is_local(self) -> bool:
        return self.endpoint == LOCAL

    @property
    def kind(self) -> str:
        """The part before the name."""
        return self.name.partition(":")[0]

    @property
    def domain(self) -> str:
        """The part after the kind."""
        return self.name.partition(":")[2]

    @property
    def is_ours(self) -> bool:
        """Whether it is angzarr, and no client's handler, that listens at its endpoint."""
        return self.role == COORDINATOR or self.kind == "query"

    @property
    def target(self) -> str:
        """The endpoint in gRPC's words: `host:port` or `unix:/path`."""
        return grpc_target(self.endpoint)


def resolve(
    classes: Mapping[str, Sequence[type[object]]], config: Config, select: str = "*"
) -> dict[str, Component]:
    """The selected components by name, in order of their names. Raises as `known`, and InvalidInput
    for a `select` entry that names nothing.

    What `select` names, beyond `*`, runs here if a loaded module defines it, whatever endpoint the
    other processes are told: all of them may read one configuration.
    """
    found = known(classes, config)
    chosen = {name: found[name] for name in selected(sorted(found), select)}
    entries = _entries(select)
    for name in selected(sorted(found), ",".join(entries)) if entries else ():
        component = chosen.get(name)
        if component and component.definition and component.is_ours:
            chosen[name] = replace(component, endpoint=LOCAL)
    return chosen


def known(classes: Mapping[str, Sequence[type[object]]], config: Config) -> dict[str, Component]:
    """All components by name, selected or not.

    classes: the loaded ones by component. Raises InvalidInput for two classes of one component, and
    for endpoints that contradict each other or do not parse.
    """
    found: dict[str, Component] = {}
    if QUERY in classes:
        both = f"{classes[QUERY][0].__qualname__} and the queries of events"
        raise InvalidInput(QUERY, "one definition", both, f"{QUERY} is defined twice: {both}")
    for name, defined in classes.items():
        definitions = [f"{c.__module__}.{c.__qualname__}" for c in defined]
        if len(definitions) > 1:
            both = " and ".join(definitions)
            raise InvalidInput(
                name, "one definition", both, f"{name} is defined twice: {both}; rename one"
            )
        found[name] = Component(name, definition=definitions[0])
    for name, component in _placed(config).items():
        definition = found[name].definition if name in found else ""
        found[name] = Component(
            name,
            component.endpoint,
            component.role,
            definition,
            component.origin,
            component.accepts_snapshots,
        )
    for name in (QUERY, STREAM):
        found.setdefault(name, Component(name))
    homeless = [
        c.name for c in found.values() if c.is_local and not c.definition and c.domain != "events"
    ]
    if homeless:
        raise InvalidInput(
            f"components.{homeless[0]}.endpoint",
            "tcp://host:port or unix:///path for a component that no loaded module defines",
            LOCAL,
            f"{homeless[0]} has no endpoint, and no loaded module defines it; "
            f"known: {', '.join(c.name for c in found.values() if c.definition) or 'none'}",
        )
    return found


def _entries(select: str) -> list[str]:
    """The entries of `select` that name something."""
    entries = map(str.strip, select.split(","))
    return [entry for entry in entries if entry not in ("", "*") and not entry.startswith("-")]


def selected(names: Sequence[str], select: str) -> list[str]:
    """The names that `select` leaves: names or `kind:*`, `*` for all, `-` before what to leave out.

    Entries apply from left to right; a list that begins with an exclusion starts from all.
    """
    entries = [entry.strip() for entry in select.split(",") if entry.strip()]
    chosen: set[str] = set(names) if not entries or entries[0].startswith("-") else set()
    for entry in entries:
        pattern = entry.removeprefix("-")
        kind = pattern.removesuffix("*")
        hits = {n for n in names if n == pattern or (pattern.endswith("*") and n.startswith(kind))}
        if not hits:
            known = ", ".join(names)
            raise InvalidInput(
                "select",
                f"names of components: {known}",
                pattern,
                f"--select: {pattern!r} names no component here; known: {known}",
            )
        chosen = chosen - hits if entry.startswith("-") else chosen | hits
    return [name for name in names if name in chosen]


def parse_endpoint(text: str, key: str) -> str:
    """`local`, `tcp://host:port` or `unix:///path` from any spelling that OPS-12 and DEP-2
    allow."""
    if text == LOCAL:
        return LOCAL
    path = re.sub(r"^unix:(//)?", "", text)
    if path != text or text.startswith("/"):
        if path.startswith("/"):
            return f"unix://{path}"
    else:
        host, separator, port = text.removeprefix("tcp://").rpartition(":")
        if separator and host and "/" not in host and port.isdecimal() and int(port) < 65_536:
            return f"tcp://{host}:{port}"
    allowed = "local, tcp://host:port or unix:///path"
    raise InvalidInput(key, allowed, text, f"{key} = {text!r}: must be {allowed}")


def grpc_target(endpoint: str) -> str:
    """`host:port` or `unix:/path` for a parsed endpoint."""
    if endpoint.startswith("unix://"):
        return "unix:" + endpoint.removeprefix("unix://")
    return endpoint.removeprefix("tcp://")


def _placed(config: Config) -> dict[str, Component]:
    """Components that the configuration gives an endpoint; `components` wins over the other
    sources."""
    placed: dict[str, Component] = {}
    for component in _implied(config):
        known = placed.setdefault(component.name, component)
        if known.endpoint != component.endpoint:
            raise InvalidInput(
                component.name,
                "one endpoint",
                component.endpoint,
                f"{component.name} has two endpoints: {known.endpoint} ({known.origin}) and "
                f"{component.endpoint} ({component.origin}); keep one of them",
            )
    for name, entry in config.components.items():
        key = f"components.{name}"
        _check_name(name, key)
        placed[name] = Component(
            name,
            parse_endpoint(entry.endpoint, f"{key}.endpoint"),
            entry.role,
            origin=config.origin(f"{key}.endpoint"),
            accepts_snapshots=entry.accepts_snapshots,
        )
    return placed


def _implied(config: Config) -> Iterable[Component]:
    """Endpoints in 0.3's words: discovery names coordinators, targets name handlers."""
    for domain, address in config.endpoints.items():
        key = f"endpoints.{domain}"
        yield Component(
            f"aggregate:{domain}",
            parse_endpoint(address, config.origin(key)),
            COORDINATOR,
            origin=config.origin(key),
        )
    for index, target in enumerate((config.target, *config.client_logic)):
        key = f"client_logic.{index - 1}" if index else "target"
        if target.endpoint and not target.domain:
            raise InvalidInput(f"{key}.domain", "set beside an address", "")
        if target.endpoint:
            endpoint = parse_endpoint(target.endpoint, key)
            origin = config.origin("client_logic" if index else f"{key}.address")
            yield Component(f"aggregate:{target.domain}", endpoint, origin=origin)
        elif target.domain:
            raise InvalidInput(f"{key}.address", "set beside a domain, or port, or socket", "")
    yield from _reactors(config)


def _reactors(config: Config) -> Iterable[Component]:
    """Sagas, process managers and projectors of clients."""
    for kind, listed in (
        ("saga", config.sagas),
        ("process_manager", config.process_managers),
        ("projector", config.projectors),
    ):
        for index, target in enumerate(listed):
            key = f"{kind}s.{index}"
            if not target.endpoint:
                raise InvalidInput(f"{key}.address", "set, or port, or socket", "")
            endpoint = parse_endpoint(target.endpoint, key)
            yield Component(f"{kind}:{target.name}", endpoint, origin=config.origin(f"{kind}s"))


def _check_name(name: str, key: str) -> None:
    kind, separator, rest = name.partition(":")
    if not (separator and rest and kind in KINDS):
        kinds = ", ".join(KINDS)
        raise InvalidInput(
            key,
            f"kind:name, kind one of {kinds}",
            name,
            f"{key}: must be kind:name, kind one of {kinds}",
        )
    if kind not in HERE_KINDS:
        raise InvalidInput(
            key,
            f"absent: {kind} is not in this release",
            name,
            f"{key}: a component of kind {kind} is not in this release; remove it",
        )
