"""Where configuration comes from, and what is said when a value is wrong (OPS-8, OPS-9)."""

from __future__ import annotations

import copy
import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from angzarr.errors import InvalidInput

Tree = dict[str, object]

DEFAULT_FILES: Final = ("config.yaml", "config.yml", "config.toml")
PREFIX: Final = "ANGZARR__"
AGGREGATE: Final = "ANGZARR_AGGREGATE_"

BARE: Final[Mapping[str, str]] = {
    "ANGZARR_COORDINATOR_PORT": "server.port",
    "ANGZARR_DISCOVERY": "discovery",
    "ANGZARR_GRPC_MESSAGE_SIZE_KB": "server.message_size_kb",
    "ANGZARR_LOG": "log.filter",
    "ANGZARR_SUBSCRIPTIONS": "subscriptions",
    "ANGZARR_UPCASTER_ADDRESS": "upcaster.address",
    "ANGZARR_UPCASTER_ENABLED": "upcaster.enabled",
    "DESCRIPTOR_PATH": "descriptor_path",
    "STREAM_OUTPUT": "projection.stream_output",
    "TRANSPORT_TYPE": "transport.type",
    "UDS_BASE_PATH": "transport.uds.base_path",
}
"""Names of 0.3 that stand for one key each."""

OTHER_NAMES: Final = {
    "ANGZARR_ADDRESS",  # the command line tools' server
    "ANGZARR_CONFIG",
    "ANGZARR_STATIC_ENDPOINTS",
    "ANGZARR_OUTBOX_ENABLED",  # a declared no-op: every append is an outbox (STO-13)
}

TOOL_NAMES: Final = (
    "ANGZARR_BENCH_",
    "ANGZARR_CACHE",
    "ANGZARR_CRASH_",
    "ANGZARR_FAILPOINTS",
    "ANGZARR_REQUIRE_BACKENDS",
    "ANGZARR_TEST_",
)
"""Beginnings of variables that belong to this project's own builds, tests and benches."""

LATER: Final[Mapping[str, str]] = {
    "messaging": "message brokers are",
    "payload_offload": "payload offloading is",
    "cascade": "cascades are",
    "reaper": "cascades are",
    "gateway": "the HTTP gateway is",
    "cloudevents": "CloudEvents are",
    "storage.postgres": "the PostgreSQL store is",
    "storage.sqlite": "the SQLite store is",
    "storage.redis": "the Redis store is",
    "storage.nats": "the NATS store is",
    "target.command": "starting client processes is",
    "target.command_json": "starting client processes is",
    "target.working_dir": "starting client processes is",
    "target.env": "starting client processes is",
    "target.listen_domain": "sagas are",
    "target.subscriptions": "process managers are",
}
"""Keys of the specification whose parts are not in this release: refused, not ignored (OPS-9)."""

LATER_STORES: Final = {"postgres", "postgresql", "sqlite", "redis", "nats"}

LATER_TARGETS: Final = {"amqp", "kafka", "pubsub", "sns-sqs", "nats", "database"}
"""Types of `dlq.targets` that are not here yet; so are those that begin with `offload_`."""

LATER_NAMES: Final[Mapping[str, str]] = {
    "CLOUDEVENTS_SINK": "CloudEvents are",
    "EVENT_QUERY_ADDRESS": "a remote query service is",
    "STREAM_ADDRESS": "a remote stream is",
}

UDS_NAMES: Final[Mapping[str, str]] = {
    "DOMAIN": "transport.uds.qualifier",
    "SERVICE_NAME": "transport.uds.service",
}
"""Read only beside `TRANSPORT_TYPE=uds`: such common names mean other things elsewhere (OPS-12)."""


class Flag(NamedTuple):
    """A value from the command line, with the flag that set it."""

    value: object
    origin: str


class Layers:
    """The tree so far, and who set each key."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.origins: dict[str, str] = {}

    def copy(self) -> Layers:
        """Layers that can be laid over without changing these."""
        other = Layers()
        other.tree, other.origins = copy.deepcopy(self.tree), dict(self.origins)
        return other

    def origin(self, key: str) -> str:
        """Who set the key, the section around it, or a part of it; `default` if nobody did."""
        inside = [origin for known, origin in self.origins.items() if known.startswith(f"{key}.")]
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        return self.origins.get(key) or next(iter(inside), "default")

    def add_code(self, code: Mapping[str, object]) -> None:
        """Dotted keys and their values; a Flag brings its own origin."""
        for key, value in code.items():
            if isinstance(value, Flag):
                self.set(key, value.value, value.origin)
            elif isinstance(value, dict) and value:
                self.merge(key, cast("Tree", value), "code")
            else:
                self.set(key, cast("object", value), "code")

    def add_default_file(self, directory: Path) -> None:
        """The first of DEFAULT_FILES that exists there; two of them are a mistake."""
        found = [directory / name for name in DEFAULT_FILES if (directory / name).is_file()]
        if len(found) > 1:
            names = " and ".join(p.name for p in found)
            raise InvalidInput("config", "one file", names, f"both {names} exist; keep one of them")
        for path in found:
            self.add_file(path, str(path))

    def add_file(self, path: Path, origin: str) -> None:
        """A YAML or TOML file, told by its suffix."""
        self.merge("", read_file(path), origin)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """`ANGZARR__SECTION__KEY`, then the bare names."""
        for name in sorted(n for n in environ if n.startswith(PREFIX)):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            value = _value(environ[name])
            if isinstance(value, dict):
                self.merge(key, cast("Tree", value), name)
            else:
                self.set(key, value, name)
        for name in sorted(environ):
            self._add_bare(name, environ[name])

        if environ.get("TRANSPORT_TYPE") == "uds":
            for name in UDS_NAMES.keys() & environ.keys():
                self.set(UDS_NAMES[name], environ[name], name)

    def _add_bare(self, name: str, value: str) -> None:
        if name in BARE:
            self.set(BARE[name], value, name)
        elif name == "ANGZARR_STATIC_ENDPOINTS":
            for domain, address in _pairs(name, value):
                self._add_endpoint(domain, address, name)
        elif name.startswith(AGGREGATE):
            self._add_endpoint(name.removeprefix(AGGREGATE).lower(), value, name)
        elif name == "ANGZARR_PROJECTORS":
            self.set("projectors", list(_projectors(name, value)), name)
        elif name in LATER_NAMES:
            raise not_yet(name, value, name, LATER_NAMES[name])
        elif (
            name.startswith("ANGZARR_")
            and not name.startswith((PREFIX, *TOOL_NAMES))
            and name not in OTHER_NAMES
        ):
            raise _unknown_name(name, value)

    def _add_endpoint(self, domain: str, address: str, origin: str) -> None:
        """The same domain twice is fine when both agree (DEP-2)."""
        key = f"endpoints.{domain}"
        known = cast("Tree", self.tree.get("endpoints", {})).get(domain)
        if (
            known is not None
            and known != address
            and self.origins.get(key, "").startswith("ANGZARR_")
        ):
            raise InvalidInput(
                f"aggregate:{domain}",
                "one endpoint",
                address,
                f"aggregate:{domain} has two endpoints: {known} ({self.origins[key]}) and "
                f"{address} ({origin}); keep one of them",
            )
        self.set(key, address, origin)

    def merge(self, prefix: str, values: Mapping[str, object], origin: str) -> None:
        """Lay a nested mapping over the tree; lists are replaced whole."""
        for name, value in values.items():
            key = f"{prefix}.{name}" if prefix else str(name)
            if isinstance(value, dict) and value:
                self.merge(key, cast("Tree", value), origin)
            else:
                self.set(key, cast("object", value), origin)

    def set(self, key: str, value: object, origin: str) -> None:
        """One dotted key; raises InvalidInput for a part that this release does not have."""
        if _is_later(key, value, origin):
            return
        *path, last = key.split(".")
        node = self.tree
        for part in path:
            inner = node.setdefault(part, {})
            if not isinstance(inner, dict):
                inner = node[part] = {}
            node = cast("Tree", inner)
        node[last] = value
        self.origins[key] = origin


def read_file(path: Path) -> Tree:
    """The mapping in a YAML or TOML file; InvalidInput names the file and the mistake's place."""
    try:
        text = path.read_text("utf-8")
        loaded = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput(
            "config", "a readable file", path, f"cannot read {path}: {why}"
        ) from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise InvalidInput(
            "config", "YAML or TOML", path, f"{path} does not parse: {why}"
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InvalidInput("config", "a mapping", path, f"{path} must hold a mapping of sections")
    return cast("Tree", loaded)


def leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of every leaf; empty mappings and lists are leaves."""
    for name, value in tree.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict) and value:
            yield from leaves(cast("Tree", value), key)
        else:
            yield key, value


def not_yet(key: str, value: object, origin: str, part: str) -> InvalidInput:
    """The refusal of a setting whose part does not exist yet."""
    return InvalidInput(
        key,
        f"absent: {part} not in this release",
        value,
        f"{key} = {value!r} ({origin}): {part} not in this release; remove it",
    )


def explain(errors: Sequence[ErrorDetails], layers: Layers, model: type[BaseModel]) -> InvalidInput:
    """pydantic's first complaint as key, value, origin, what is allowed, nearest known key."""
    error = errors[0]
    path = [str(part) for part in error["loc"]]
    key, value = ".".join(path), error["input"]
    origin = layers.origin(key)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        near = _nearest(path[-1], known) or _nearest(key, _all_keys(model))
        where = ".".join(path[:-1])
        full = near if near and ("." in near or not where) else f"{where}.{near}" if near else ""
        hint = f"; did you mean {full}?" if full else f"; known here: {', '.join(known)}"
        return InvalidInput(
            key,
            f"one of {', '.join(known)}",
            value,
            f"unknown key {key} = {value!r} ({origin}){hint}",
        )
    allowed = _allowed(error, model, path)
    return InvalidInput(key, allowed, value, f"{key} = {value!r} ({origin}): must be {allowed}")


def _allowed(error: ErrorDetails, model: type[BaseModel], path: Sequence[str]) -> str:
    """What the field allows: its bounds where it has them, else the complaint's own words."""
    field = _field(model, path)
    metadata = cast("list[object]", field.metadata) if field else []
    bounds: dict[type[object], object] = {type(m): m for m in metadata}
    low, high = bounds.get(Ge), bounds.get(Le)
    if isinstance(low, Ge) and isinstance(high, Le):
        kind = "an integer" if field and field.annotation is int else "a number"
        return f"{kind} from {low.ge} to {high.le}"
    text = error["msg"][:1].lower() + error["msg"][1:]
    return re.sub(r"^(input|value) should be (a valid )?", "", text)


def _field(model: type[BaseModel], path: Sequence[str]) -> FieldInfo | None:
    """The field at `path`; names of components and list places in it are passed over."""
    field: FieldInfo | None = None
    for part in path:
        found = model.model_fields.get(part)
        if found is None:
            continue
        field = found
        model = _model_in(found.annotation) or model
    return field


def _nearest(key: str, known: Sequence[str]) -> str:
    return next(iter(difflib.get_close_matches(key, known, n=1, cutoff=0.6)), "")


def _known_keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Field names of the section at `path`."""
    for part in path:
        inner = model.model_fields.get(part)
        found = _model_in(inner.annotation) if inner else model
        model = found or model
    return sorted(model.model_fields)


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        keys += _all_keys(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The section in an annotation such as `Server`, `list[Target]` or `dict[str, Component]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = cast("tuple[object, ...]", getattr(cast("object", annotation), "__args__", ()))
    return next(filter(None, map(_model_in, inner)), None)


def _is_later(key: str, value: object, origin: str) -> bool:
    """True for a switched-off part that is not here; InvalidInput if it is switched on."""
    if key == "storage.type" and str(value) in LATER_STORES:
        raise InvalidInput(
            key,
            "rocksdb, rocksdict, memory or grpc",
            value,
            f"{key} = {value} ({origin}): the {value} store is not in this release; "
            "use rocksdb, rocksdict, memory or grpc",
        )
    if key == "discovery" and str(value) != "static":
        raise InvalidInput(
            key,
            "static",
            value,
            f"{key} = {value} ({origin}): only static discovery is in this release",
        )
    if key == "dlq.targets":
        _refuse_later_targets(key, value, origin)
    part = next((p for p in LATER if key == p or key.startswith(f"{p}.")), "")
    if part and value and str(value).lower() not in ("false", "none", "0", "off"):
        raise not_yet(key, value, origin, LATER[part])
    return bool(part)


def _refuse_later_targets(key: str, targets: object, origin: str) -> None:
    """InvalidInput for a target of dead letters whose adapter does not exist yet (DLQ-6)."""
    listed = cast("list[object]", targets) if isinstance(targets, list) else []
    for index, target in enumerate(listed):
        named = cast("Tree", target).get("type") if isinstance(target, dict) else None
        if str(named) in LATER_TARGETS or str(named).startswith("offload_"):
            raise not_yet(f"{key}.{index}.type", named, origin, f"dead letters to {named} are")


def _unknown_name(name: str, value: str) -> InvalidInput:
    known = sorted({*(n for n in BARE if n.startswith("ANGZARR_")), *OTHER_NAMES, *LATER_NAMES})
    near = _nearest(name, known)
    hint = (
        f"; did you mean {near}?" if near else f"; known: {', '.join(known)}, {AGGREGATE}<DOMAIN>"
    )
    return InvalidInput(name, "a known name", value, f"unknown variable {name}{hint}")


def _pairs(name: str, text: str) -> Iterator[tuple[str, str]]:
    """`domain=address,domain=address`."""
    for item in filter(None, (part.strip() for part in text.split(","))):
        domain, separator, address = item.partition("=")
        if not (separator and domain.strip() and address.strip()):
            raise InvalidInput(name, "domain=address,domain=address", item)
        yield domain.strip(), address.strip()


def _projectors(name: str, text: str) -> Iterator[Tree]:
    """A JSON list of {name, domain, url}, as entries of `projectors`."""
    try:
        listed: object = json.loads(text)
    except ValueError as error:
        raise InvalidInput(name, "a JSON list of {name, domain, url}", text) from error
    if not isinstance(listed, list):
        raise InvalidInput(name, "a JSON list of {name, domain, url}", text)
    for item in cast("list[object]", listed):
        entry: Tree = cast("Tree", item) if isinstance(item, dict) else {}
        if set(entry) != {"name", "domain", "url"} or not all(map(_is_text, entry.values())):
            raise InvalidInput(name, "a JSON list of {name, domain, url}", text)
        url = re.sub(r"^(https?|tcp)://", "", str(entry["url"]))
        yield {"name": entry["name"], "domain": entry["domain"], "address": url}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _value(text: str) -> object:
    """A variable's value: JSON where it looks like a list or mapping, the text else."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        return cast("object", json.loads(text))
    except json.JSONDecodeError:
        return text
