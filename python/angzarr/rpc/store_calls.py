"""Calls of the store's ports as MessagePack: what StoreService and the store behind it agree on.

Arguments travel by name, as a map; a result as it is. The ports' own signatures and dataclasses say
what is in them, so there is nothing here to keep in step with them. Pages and books are bytes that
nobody looks into. Errors travel beside their status, so that they come back with all fields.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Union, get_type_hints

import msgspec

from angzarr import errors
from angzarr.errors import AngzarrError, InvalidInput
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.edition_store import EditionStore
from angzarr.ports.event_store import (
    Appended,
    Dropped,
    Duplicate,
    EventStore,
    Obligation,
)
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.position_store import PositionStore
from angzarr.ports.snapshot_store import SnapshotStore
from angzarr.ports.stores import Stores

SERVICE: Final = "angzarr.StoreService"
ERROR: Final = "angzarr-store-error-bin"
"""Trailing metadata of a failed call: the error as MessagePack."""
ERROR_BYTES_MAX: Final = 4 * 1024
"""A larger one would not fit into what gRPC clients read; its status tells most of it anyway."""

PORTS: Final[Mapping[str, type]] = {
    "events": EventStore,
    "snapshots": SnapshotStore,
    "positions": PositionStore,
    "obligations": ObligationStore,
    "dead_letters": DeadLetterQueue,
    "editions": EditionStore,
}
"""By the names that `Stores` has for them."""
FACTS: Final = "stores.facts"

STORE_ERRORS: Final = (
    errors.InvalidInput,
    errors.TooLarge,
    errors.QuotaExceeded,
    errors.InvalidDivergence,
    errors.SequenceConflict,
    errors.SequenceExhausted,
    errors.CascadeDecided,
    errors.DivergenceConflict,
    errors.EditionConflict,
    errors.EditionExpired,
    errors.EditionInUse,
    errors.MainProtected,
    errors.PendingPages,
    errors.UnknownCascade,
    errors.Overloaded,
    errors.StoreUnavailable,
    errors.StoreClosed,
    errors.CorruptData,
)
"""What the methods of stores raise (STO-30)."""

_WIRE_TYPES: Final[Mapping[object, object]] = {
    # MessagePack tells no two dataclasses apart, so one of each pair goes as something simpler.
    Sequence[Obligation | Dropped]: list[Obligation | str],
    Appended | Duplicate: tuple[int, int, bool],
    object: str,
}

_encode: Final = msgspec.msgpack.Encoder().encode


class Call:
    """One method of a port. name: `port.method`."""

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self.name = name
        self.port, _, self.method = name.partition(".")
        hints = get_type_hints(function)
        parameters = _parameters(function)
        self._positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self._named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._arguments = _struct(name, parameters, hints)
        self._arguments_decoder = msgspec.msgpack.Decoder(self._arguments)
        self._result_decoder = msgspec.msgpack.Decoder(_wire_type(hints["return"]))

    def arguments(self, *positional: object, **named: object) -> bytes:
        """The arguments of a call, which are given as the method takes them."""
        return _encode(self._arguments(*positional, **named))

    def arguments_of(self, data: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments. Raises InvalidInput for what the method doesn't take:
        a newer client must not be answered as if it had not said something."""
        try:
            given = self._arguments_decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise InvalidInput("arguments", f"those of {self.name}", error) from error
        positional = [getattr(given, name) for name in self._positional]
        return positional, {name: getattr(given, name) for name in self._named}

    def result(self, value: object) -> bytes:
        """What a call returned."""
        return _encode(value)

    def result_of(self, data: bytes) -> Any:
        """What a call returned. Raises msgspec.MsgspecError for bytes that are no such result."""
        return self._result_decoder.decode(data)


@functools.cache
def calls() -> Mapping[str, Call]:
    """All methods of the ports, and FACTS, by name."""
    found = {
        f"{port}.{name}": member
        for port, protocol in PORTS.items()
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    found[FACTS] = Stores.facts
    return {name: Call(name, function) for name, function in found.items()}


def changes_to_wire(changes: Sequence[Obligation | Dropped]) -> list[Obligation | str]:
    """Dropped ones as their ids."""
    return [change if isinstance(change, Obligation) else change.id for change in changes]


def changes_of_wire(changes: Sequence[Obligation | str]) -> list[Obligation | Dropped]:
    """Ids as dropped ones."""
    return [Dropped(change) if isinstance(change, str) else change for change in changes]


def error_bytes(error: BaseException) -> bytes:
    """A store's error with all its fields; b"" for one that is none, or too large for a trailer."""
    made = _error_structs().get(type(error)) if isinstance(error, AngzarrError) else None
    if made is None:
        return b""
    fields = {name: getattr(error, name, None) for name in made.__struct_fields__}
    if "message" in fields:
        fields["message"] = str(error)
    data = _encode(made(**fields))
    return data if len(data) <= ERROR_BYTES_MAX else b""


def error_of_bytes(data: bytes) -> AngzarrError | None:
    """The error that error_bytes() wrote; None for something else."""
    structs = _error_structs()
    kinds: Any = Union[tuple(structs.values())]  # noqa: UP007
    try:
        found = msgspec.msgpack.decode(data, type=kinds)
    except msgspec.MsgspecError:
        return None
    [of] = [of for of, made in structs.items() if isinstance(found, made)]
    return of(**{name: getattr(found, name) for name in found.__struct_fields__})


@functools.cache
def _error_structs() -> Mapping[type[AngzarrError], Any]:
    """For each class of STORE_ERRORS a struct with what its constructor takes."""
    made: dict[type[AngzarrError], Any] = {}
    for of in STORE_ERRORS:
        function = of.__init__
        hints = get_type_hints(function)
        made[of] = _struct(of.__name__, _parameters(function), hints, tag=of.__name__)
    return made


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[1:]


def _struct(
    name: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, object], **options: Any
) -> Any:
    """A class of structs with a field for each parameter."""
    fields: list[Any] = []
    for parameter in parameters:
        kind = _wire_type(hints[parameter.name])
        has_default = parameter.default is not parameter.empty
        default = (parameter.default,) if has_default else ()
        fields.append((parameter.name, kind, *default))
    is_strict = not options
    return msgspec.defstruct(
        name.replace(".", "_"),
        fields,
        omit_defaults=True,
        forbid_unknown_fields=is_strict,
        **options,
    )


def _wire_type(hint: object) -> Any:
    return _WIRE_TYPES.get(hint, hint)
