"""One typed tree of all that can be set; `docs/spec/wire.md` and OPS-8 name keys and sources.

    config = load(path="angzarr.toml", code={"storage.path": "/var/lib/bank"})
    config.limits.max_payload_bytes
    config.origin("storage.path")          # "code"

Later sources win: defaults < ./config.yaml or ./config.toml < `--config` < `ANGZARR_CONFIG` <
`ANGZARR__SECTION__KEY` < bare names such as `ANGZARR_COORDINATOR_PORT` < code and command line
flags. A key that nobody knows, a value outside its range, and a setting for a part that this
release does not have stop the start with InvalidInput (OPS-9).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, PrivateAttr, ValidationError

from angzarr import config_sources as sources
from angzarr.config_targets import (
    ManagerTarget,
    Port,
    ProjectorTarget,
    SagaTarget,
    Section,
    Subscriptions,
    Target,
)
from angzarr.errors import InvalidInput
from angzarr.ports.event_store import Limits as StoreLimits

T = TypeVar("T")

KIB: Final = 1024
MIB: Final = 1024 * KIB
DEFAULT_PORT: Final = 1310

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Server(Section):
    """How this process serves. grace_s: what running calls get on SIGTERM (OPS-3).

    store_access: who may use this process's store by way of its port (DEP-11).
    """

    host: str = "127.0.0.1"
    port: Port = DEFAULT_PORT
    grace_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    reflection: bool = True
    message_size_kb: Annotated[int, Field(ge=64, le=2_000_000)] = 10_240
    store_access: Literal["off", "local", "any"] = "local"


class Tcp(Section):
    """Names of 0.3 for the listening address; None leaves it to `server`."""

    host: str | None = None
    port: Port | None = None


class Uds(Section):
    """Unix sockets: `<base_path>/<service>-<qualifier>.sock` (OPS-12).

    base_path: "" is the user's own directory.
    """

    base_path: str = ""
    service: str = "angzarr"
    qualifier: str = ""


class Tls(Section):
    """PEM files; all empty is plain text (OPS-10)."""

    cert: str = ""
    key: str = ""
    ca: str = ""
    require_client_cert: bool = False


class Transport(Section):
    """What the server listens on and how endpoints are reached."""

    type: Literal["tcp", "uds"] = "tcp"
    tcp: Tcp = Tcp()
    uds: Uds = Uds()
    tls: Tls = Tls()


class SnapshotsEnable(Section):
    """Whether snapshots are read and written (SNAP-9)."""

    read: bool = True
    write: bool = True


class Storage(Section):
    """The store. path: its directory. sync: durable on return of each append (STO-2).

    address: of the server that has it open, for the type grpc (DEP-11).
    """

    type: Literal["rocksdb", "rocksdict", "memory", "grpc"] = "rocksdb"
    path: str = "data"
    address: str = ""
    sync: bool = True
    snapshots_enable: SnapshotsEnable = SnapshotsEnable()

    @property
    def url(self) -> str:
        """The store's URL, as `angzarr.stores.open_stores` takes it."""
        if self.type == "grpc":
            is_socket = self.address.startswith(("/", "unix:"))
            path = re.sub("^(unix:|tcp:)?(//)?", "", self.address)
            return f"grpc+unix://{path}" if is_socket else f"grpc://{path}"
        return "memory://" if self.type == "memory" else f"{self.type}://{self.path}"


class SnapshotRule(Section):
    """When snapshots are taken and kept (SNAP-6, SNAP-7). every (pages), max_age_s: 0 is off."""

    every: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    keep_last: Annotated[int, Field(ge=1, le=1_000)] = 1
    max_age_s: Annotated[int, Field(ge=0, le=10**9)] = 0


class Snapshots(SnapshotRule):
    """The rule for all domains, and exceptions by domain."""

    domains: dict[str, SnapshotRule] = {}

    def rule(self, domain: str) -> SnapshotRule:
        """The rule in force for a domain."""
        return self.domains.get(domain, self)


class Limits(Section):
    """Bounds (CMD-2, CMD-7, CMD-19, STO-6, SYNC-4, QRY-11, QRY-22); beyond one is an error."""

    max_payload_bytes: Annotated[int, Field(ge=1, le=64 * MIB)] = 256 * KIB
    max_pages_per_book: Annotated[int, Field(ge=1, le=1_000)] = 100
    query_result_limit: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    channel_capacity: Count = 1_024
    handler_concurrency: Annotated[int, Field(ge=1, le=65_536)] = 64
    max_error_detail_bytes: Annotated[int, Field(ge=0, le=64 * KIB)] = 4 * KIB
    max_pages_per_append: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    max_append_bytes: Annotated[int, Field(ge=KIB, le=256 * MIB)] = 4 * MIB
    writer_queue: Count = 4_096
    subscriber_buffer: Annotated[int, Field(ge=1, le=65_536)] = 32
    max_cascade_depth: Annotated[int, Field(ge=0, le=1_000)] = 32

    @property
    def store(self) -> StoreLimits:
        """The bounds that the store checks."""
        return StoreLimits(self.max_pages_per_append, self.max_append_bytes, self.writer_queue)


class ProjectorRule(Section):
    """What is said of one projector; None leaves it to the rule for all.

    read_store: a URL, `sqlite://PATH`, in place of the one that its class names; "" is that one.
    """

    stream_output: bool | None = None
    concurrency: Annotated[int, Field(ge=1, le=65_536)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    read_store: str = ""


class Projection(Section):
    """How projectors are fed (PROJ-5, PROJ-11, PROJ-14).

    stream_output: whether their projections are published. concurrency: streams handled at once, 1
    is the log's order. timeout_s: what a remote one has for a book. gap_pages: missing pages that
    come in one book. batch_books, batch_ms: what shares a transaction of a read store.
    write_behind_ms: how long positions outside of read stores wait. projectors: exceptions by name.
    """

    stream_output: bool = False
    concurrency: Annotated[int, Field(ge=1, le=65_536)] = 16
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    gap_pages: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    batch_books: Annotated[int, Field(ge=1, le=65_536)] = 256
    batch_ms: Annotated[int, Field(ge=0, le=10_000)] = 5
    write_behind_ms: Annotated[int, Field(ge=0, le=60_000)] = 100
    projectors: dict[str, ProjectorRule] = {}

    def rule(self, name: str) -> ProjectorRule:
        """The rule in force for a projector; nothing in it is None."""
        own = self.projectors.get(name, ProjectorRule())
        return ProjectorRule(
            stream_output=_first(own.stream_output, self.stream_output),
            concurrency=_first(own.concurrency, self.concurrency),
            timeout_s=_first(own.timeout_s, self.timeout_s),
            read_store=own.read_store,
        )


class Query(Section):
    """allow_raw: whether `angzarr-raw` gives stored pages as they are (QRY-13)."""

    allow_raw: bool = False


class Component(Section):
    """Where a component runs: `local`, `tcp://host:port`, `unix:///path` (DEP-2, DEP-4, SNAP-9).

    role: what listens there. accepts_snapshots: whether a remote handler understands snapshots it
    did not make.
    """

    endpoint: str = "local"
    role: Literal["handler", "coordinator"] = "handler"
    accepts_snapshots: bool = False


class Upcaster(Section):
    """A remote upcaster (UPC-1). address "": the command handler's own endpoint."""

    enabled: bool = False
    address: str = ""


class DeadLetterTarget(Section):
    """Where dead letters go: the event store's own queue, files, the log, or a test's channel.

    path, max_files: of `filesystem`, its directory, and how many files it keeps; 0 is all.
    """

    type: Literal["store", "filesystem", "logging", "channel"] = "store"
    path: str = ""
    max_files: Annotated[int, Field(ge=0, le=10_000_000)] = 0


class DeadLetters(Section):
    """The chain of targets, the first that takes a letter keeps it; empty is the store (DLQ-6)."""

    targets: list[DeadLetterTarget] = []

    def check(self) -> None:
        """Raise InvalidInput for a directory that is missing or out of place, and for a target
        that is named twice."""
        seen: set[tuple[str, str]] = set()
        for index, target in enumerate(self.targets):
            key = f"dlq.targets.{index}"
            is_filesystem = target.type == "filesystem"
            if is_filesystem and not target.path:
                raise InvalidInput(f"{key}.path", "the directory where files are kept", "")
            if not is_filesystem and (target.path or target.max_files):
                name = "path" if target.path else "max_files"
                why = f"{key}.{name}: only a filesystem target has one, not {target.type}"
                raise InvalidInput(f"{key}.{name}", "absent", target.path, why)
            place = target.type, os.path.realpath(target.path) if target.path else ""
            if place in seen:
                why = f"{key}: {target.type} is among the targets before it already"
                raise InvalidInput(key, "another target", target.type, why)
            seen.add(place)


class SagaCompensation(Section):
    """What is done about rejected commands of sagas and process managers (COMP-6, COMP-9, COMP-11).

    fallback_*: for sources that have no answer. escalation_webhook_url: where escalations are
    posted (COMP-10). dead_letter_queue_url: one more target for these dead letters.
    """

    max_attempts: Annotated[int, Field(ge=1, le=1_000)] = 10
    fallback_domain: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,63}$")] = (
        "angzarr-saga-failures"
    )
    fallback_emit_system_revocation: bool = True
    fallback_send_to_dlq: bool = False
    fallback_escalate: bool = False
    escalation_webhook_url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+\S*)?$")] = ""
    dead_letter_queue_url: str = ""


class Delivery(Section):
    """How the log's deliveries are tried (DLQ-3, DLQ-4).

    first_ms, cap_s: the first and the longest delay between attempts. max_attempts: then a failure
    is a dead letter; on_poison `block` tries on instead. window: unfinished books of one consumer
    in memory. concurrency: streams of one saga or process manager at once.
    """

    first_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    cap_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_attempts: Annotated[int, Field(ge=1, le=1_000)] = 10
    on_poison: Literal["dead_letter", "block"] = "dead_letter"
    window: Annotated[int, Field(ge=1, le=65_536)] = 1_024
    concurrency: Annotated[int, Field(ge=1, le=65_536)] = 64


class Consumer(Section):
    """How processes share consumers (DEP-14). lease_s: how long one that died keeps others out."""

    lease_s: Annotated[float, Field(ge=0.1, le=3600)] = 15.0
    partitions: Annotated[int, Field(ge=1, le=1_024)] = 1


class Editions(Section):
    """reap_interval_s: between two looks for expired editions, 0 is none (EDN-24)."""

    reap_interval_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0


class Log(Section):
    """filter: a level, or `logger=level` items, separated by commas."""

    filter: str = "warning"


class Config(Section):
    """The whole tree. Build it with `load`."""

    server: Server = Server()
    transport: Transport = Transport()
    storage: Storage = Storage()
    snapshots: Snapshots = Snapshots()
    limits: Limits = Limits()
    query: Query = Query()
    projection: Projection = Projection()
    components: dict[str, Component] = {}
    endpoints: dict[str, str] = {}
    discovery: Literal["static"] = "static"
    target: Target = Target()
    client_logic: list[Target] = []
    sagas: list[SagaTarget] = []
    process_managers: list[ManagerTarget] = []
    projectors: list[ProjectorTarget] = []
    subscriptions: Subscriptions = ""
    upcaster: Upcaster = Upcaster()
    dlq: DeadLetters = DeadLetters()
    saga_compensation: SagaCompensation = SagaCompensation()
    delivery: Delivery = Delivery()
    consumer: Consumer = Consumer()
    editions: Editions = Editions()
    descriptor_path: str = ""
    log: Log = Log()

    _layers: sources.Layers = PrivateAttr(default_factory=sources.Layers)

    def origin(self, key: str) -> str:
        """Where a dotted key was set: a file, a variable, `code`, a flag, or `default`."""
        return self._layers.origin(key)

    def with_code(self, code: Mapping[str, object]) -> Config:
        """This configuration with dotted keys laid over it. Raises InvalidInput as `load` does."""
        layers = self._layers.copy()
        layers.add_code(code)
        return _checked(layers)

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """(dotted key, effective value, origin) of every leaf, in the tree's order."""
        for key, value in sources.leaves(self.model_dump()):
            yield key, value, self.origin(key)

    @property
    def descriptor_paths(self) -> list[str]:
        """Files with descriptor sets of users' types; `descriptor_path` separates them as PATH
        does."""
        return [path for path in self.descriptor_path.split(os.pathsep) if path]

    @property
    def listen(self) -> tuple[str, int]:
        """Host and port to listen on; InvalidInput if `server` and `transport.tcp` differ."""
        return (
            self._either(
                "server.host", self.server.host, "transport.tcp.host", self.transport.tcp.host
            ),
            self._either(
                "server.port", self.server.port, "transport.tcp.port", self.transport.tcp.port
            ),
        )

    def _either(self, key: str, value: T, other_key: str, other: T | None) -> T:
        if other is None or other == value:
            return value
        if self.origin(key) == "default" or self.origin(key) in ("code", "--port", "--host"):
            return other if self.origin(key) == "default" else value
        raise InvalidInput(
            key,
            f"equal to {other_key}, which says the same thing",
            value,
            f"{key} = {value} ({self.origin(key)}) conflicts with {other_key} = {other} "
            f"({self.origin(other_key)}); keep one of them",
        )


def _first(value: T | None, other: T) -> T:
    return other if value is None else value


def load(
    *,
    path: str | Path | None = None,
    code: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: str | Path = ".",
) -> Config:
    """Read all sources in their order and check the outcome.

    path: what `--config` names. code: dotted keys to values, which win over everything; the value
    may be a pair (value, origin) to name a flag. environ: os.environ unless given. directory:
    where config.yaml or config.toml lies.
    Raises InvalidInput naming the key, its value, what is allowed and the nearest known key.
    """
    layers = sources.Layers()
    variables = os.environ if environ is None else environ
    layers.add_default_file(Path(directory))
    if path:
        layers.add_file(Path(path), f"{path} (--config)")
    if variables.get("ANGZARR_CONFIG"):
        named = variables["ANGZARR_CONFIG"]
        layers.add_file(Path(named), f"{named} (ANGZARR_CONFIG)")
    layers.add_environment(variables)
    layers.add_code(code or {})
    return _checked(layers)


def store_settings(url: str) -> dict[str, str]:
    """The keys of `storage` that a store's URL stands for; without a scheme it is a path."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "rocksdb", url
    if scheme in ("grpc", "grpc+unix"):
        kind = "tcp" if scheme == "grpc" else "unix"
        return {"storage.type": "grpc", "storage.address": f"{kind}://{rest}"}
    return {"storage.type": scheme} | ({"storage.path": rest} if rest else {})


def _checked(layers: sources.Layers) -> Config:
    try:
        config = Config.model_validate(layers.tree)
    except ValidationError as error:
        raise sources.explain(error.errors(include_url=False), layers, Config) from error
    config.dlq.check()
    config._layers = layers  # pyright: ignore[reportPrivateUsage]
    return config
