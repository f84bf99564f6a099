"""Payload fields that become columns: found in event classes, and turned into what a store reads.

fields={"amount": "amount"}                         # of every event class that has it
fields={"raise_to": ("BetOrRaised", "to")}          # of one
fields={"chips": [Field(CheckedOrCalled, "amount"), Field(BetOrRaised, "to")]}
fields={"cents": Field("account.Deposited", "cents", kind="int")}   # without its class
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any as Untyped
from typing import Final, Literal, cast, get_args

from google.protobuf.message import Message

from angzarr import codec
from angzarr.data import _json_shapes, _message_shapes
from angzarr.data._json_shapes import UNSET, Leaf, NoSuchField, Shape
from angzarr.errors import InvalidInput
from angzarr.handlers.table import table_of
from angzarr.ports.columns import FieldKind, FieldPath, FieldSpec

Kind = Literal["int", "float", "bool", "text", "strings", "datetime"]
"""int64, float64, bool, codes into categories, strings themselves, datetime64[ns] in UTC."""

EventType = str | type[Untyped]
"""An event class, its name, or its full name."""

Role = Literal["value", "text", "seconds", "nanos", "wide"]
"""What a column is made of: the value; a text that is parsed; a protobuf Timestamp's two parts; and
integers as floats, which tells those that are too big from those that are absent."""

RESERVED: Final = frozenset(
    ("position", "sequence", "time", "domain", "edition", "type", "root", "payload", "inherited")
) | {"branch", "point", "step"}
_NAME: Final = re.compile(r"\w[\w -]{0,63}")
_NUMBERS: Final = frozenset[Shape](("int", "uint", "float", "decimal"))
_UNSIGNED: Final = frozenset[Shape](("uint",))
_ACCEPTED: Final[Mapping[Kind, frozenset[Shape]]] = {
    "int": frozenset(("int", "uint")),
    "float": _NUMBERS,
    "bool": frozenset(("bool",)),
    "text": frozenset(("text", "decimal", "datetime")),
    "strings": frozenset(("text", "decimal", "datetime")),
    "datetime": frozenset(("datetime", "text")),
}
_ROLE_KINDS: Final[Mapping[Role, FieldKind]] = {
    "text": "text",
    "seconds": "int",
    "nanos": "int",
    "wide": "float",
}
_TYPICAL: Final[Mapping[Kind, Shape]] = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "text": "text",
    "strings": "text",
    "datetime": "datetime",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of one event type.

    type: the class, its name, or its full name. path: names from the outside in, `setup.game`.
    kind: None is what the annotation says; it has to be said for a type whose class is not known,
    and for a field that may be one thing or another, of which it then takes one.
    """

    type: EventType
    path: str
    kind: Kind | None = None


Selector = str | tuple[EventType, str] | Field
Fields = Mapping[str, Selector | Sequence[Selector]] | Sequence[str]
"""Columns by name; or paths of fields, each a column of that name with _ for its dots."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a column is made of what a store reads.

    specs: by role. defaults: by full type name what an absent field stands for. is_unsigned: a
    negative number is one of 2⁶³ and above.
    """

    name: str
    kind: Kind
    specs: Mapping[Role, FieldSpec]
    defaults: Mapping[str, bool | int | float | str]
    is_unsigned: bool = False


class Catalog:
    """The event classes that are known, by full name.

    definitions: Aggregate and ProcessManager classes. domains: those that are read, which name
    dataclasses of no aggregate.
    """

    def __init__(self, definitions: Iterable[type], domains: Sequence[str] | None = None) -> None:
        self._classes: dict[str, type[Untyped]] = {}
        self._domains = domains
        for definition in definitions:
            table = table_of(definition)
            for name, kind in table.events.items() if table is not None else ():
                self._classes.setdefault(name, kind.cls)

    def names(self, wanted: EventType, field: str) -> dict[str, type[Untyped] | None]:
        """Full names that `wanted` stands for, with their classes where they are known.

        Raises InvalidInput, for `field`, if there is no such type or several are called so.
        """
        if isinstance(wanted, type):
            return self._named(wanted, field)
        if wanted in self._classes:
            return {wanted: self._classes[wanted]}
        found = [name for name in self._classes if name.rpartition(".")[2] == wanted]
        if len(found) > 1:
            raise InvalidInput(field, "one of " + ", ".join(sorted(found)), wanted)
        if found:
            return {found[0]: self._classes[found[0]]}
        if "." not in wanted:
            raise InvalidInput(field, self._nearest(wanted), wanted)
        return {wanted: None}

    def split(self, text: str) -> tuple[str | None, str]:
        """The type and the path in `Type.path`, `domain.Type.path` or a path alone: None.

        Of types that are not known the name's last part begins with a capital letter.
        """
        parts = text.split(".")
        names = {known for name in self._classes for known in (name, name.rpartition(".")[2])}
        for count in range(len(parts) - 1, 0, -1):
            name = ".".join(parts[:count])
            if name in names:
                return name, ".".join(parts[count:])
        for count in range(1, len(parts)):
            if parts[count - 1][:1].isupper():
                return ".".join(parts[:count]), ".".join(parts[count:])
        return None, text

    def plans(self, fields: Fields) -> tuple[Plan, ...]:
        """A plan for each column. Raises InvalidInput for a type or field that no class has."""
        if isinstance(fields, str):
            raise InvalidInput("fields", "a mapping, or a list of names", fields)
        items = (
            fields
            if isinstance(fields, Mapping)
            else {path.replace(".", "_"): path for path in fields}
        )
        return tuple(self._plan(name, selector) for name, selector in items.items())

    def _named(self, cls: type[Untyped], field: str) -> dict[str, type[Untyped] | None]:
        found: dict[str, type[Untyped] | None] = {
            name: cls for name, known in self._classes.items() if known is cls
        }
        if found:
            return found
        if issubclass(cls, Message):
            return {cls.DESCRIPTOR.full_name: cls}
        if not dataclasses.is_dataclass(cls):
            raise InvalidInput(field, "a dataclass or a protobuf message", cls.__qualname__)
        domains = self._domains or ()
        if codec.TYPE_NAME_ATTRIBUTE in vars(cls):
            domains = ("",)
        if not domains:
            where = "an event of the given aggregates; or name the domain that it belongs to"
            raise InvalidInput(field, where, cls.__qualname__)
        return {codec.type_name(cls, domain): cls for domain in domains}

    def _plan(self, name: str, selector: Selector | Sequence[Selector]) -> Plan:
        if name in RESERVED or not _NAME.fullmatch(name):
            raise InvalidInput(
                "fields",
                "a column's name: 1 to 64 letters, digits, _ - or spaces; not a taken one",
                name,
            )
        is_one = isinstance(selector, str | Field) or _is_pair(selector)
        several = cast("Sequence[Selector]", [selector] if is_one else selector)
        ends = [end for one in several for end in self._ends(name, one)]
        return _plan_of(name, ends)

    def _ends(self, name: str, selector: Selector) -> Iterator[_End]:
        where = f"fields.{name}"
        if isinstance(selector, str):
            yield from self._everywhere(where, selector)
            return
        one = selector if isinstance(selector, Field) else Field(*selector)
        if one.kind is not None and one.kind not in get_args(Kind):
            raise InvalidInput(f"{where}.kind", "one of " + ", ".join(get_args(Kind)), one.kind)
        keys = tuple(one.path.split("."))
        for type_name, cls in self.names(one.type, where).items():
            if cls is not None:
                yield _end_of(where, type_name, cls, keys, one.kind)
            elif one.kind is None:
                limit = f"given a kind where no class is known; {self._nearest(type_name)}"
                raise InvalidInput(where, limit, type_name)
            else:
                leaf = Leaf(frozenset((_TYPICAL[one.kind],)))
                yield _End(type_name, leaf, one.kind, keys=keys)

    def _everywhere(self, where: str, path: str) -> Iterator[_End]:
        """The field of every known class that has it."""
        keys = tuple(path.split("."))
        known: list[str] = []
        is_found = False
        for type_name, cls in self._classes.items():
            try:
                yield _end_in(where, type_name, cls, keys, None)
                is_found = True
            except NoSuchField as missing:
                prefix = keys[: len(keys) - 1]
                known += (".".join((*prefix, name)) for name in missing.known)
        if not is_found:
            raise InvalidInput(where, _nearest(path, known, "a field of an event class"), path)

    def _nearest(self, name: str) -> str:
        return _nearest(name, list(self._classes), "a known event type")


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a path in one type."""

    type_name: str
    leaf: Leaf
    kind: Kind | None
    keys: tuple[str, ...] = ()
    wire: _message_shapes.WirePath | None = None


def _end_of(
    where: str, type_name: str, cls: type[Untyped], keys: tuple[str, ...], kind: Kind | None
) -> _End:
    try:
        return _end_in(where, type_name, cls, keys, kind)
    except NoSuchField as missing:
        path = ".".join(keys)
        limit = _nearest(keys[-1], missing.known, f"a field of {type_name}")
        raise InvalidInput(where, limit, path) from None


def _end_in(
    where: str, type_name: str, cls: type[Untyped], keys: tuple[str, ...], kind: Kind | None
) -> _End:
    """Raises NoSuchField."""
    if issubclass(cls, Message):
        wire, leaf = _message_shapes.leaf_of(cls.DESCRIPTOR, keys)
        end = _End(type_name, leaf, kind, wire=wire)
    else:
        names, leaf = _json_shapes.leaf_of(cls, keys)
        end = _End(type_name, leaf, kind, keys=names)
    if kind is not None and not leaf.shapes & _ACCEPTED[kind]:
        raise InvalidInput(where, f"a field of kind {kind}", f"{type_name}.{'.'.join(keys)}")
    return end


def _plan_of(name: str, ends: Sequence[_End]) -> Plan:
    kind = _kind_of(name, ends)
    paths: dict[Role, list[FieldPath]] = {}
    defaults: dict[str, bool | int | float | str] = {}
    for end in ends:
        for role, path in _paths(end, kind):
            paths.setdefault(role, []).append(path)
        default = end.leaf.default
        if isinstance(default, bool | int | float | str) and _fits(default, kind):
            defaults[end.type_name] = default
    specs: dict[Role, FieldSpec] = {
        role: FieldSpec(_spec_name(name, role), _spec_kind(role, kind), tuple(found))
        for role, found in paths.items()
    }
    is_unsigned = all(end.leaf.shapes == _UNSIGNED for end in ends)
    return Plan(name, kind, specs, defaults, is_unsigned and kind == "int")


def _fits(default: bool | int | float | str, kind: Kind) -> bool:
    """Whether an absent field, one kind or another, is of this kind by its default."""
    if isinstance(default, str):
        return kind in ("text", "strings")
    if isinstance(default, bool) or kind == "bool":
        return isinstance(default, bool) and kind == "bool"
    return kind == "float" or (kind == "int" and isinstance(default, int))


def _kind_of(name: str, ends: Sequence[_End]) -> Kind:
    given: set[Kind] = {end.kind for end in ends if end.kind is not None}
    untold = [end.leaf.shapes for end in ends if end.kind is None]
    shapes: frozenset[Shape] = frozenset[Shape]().union(*untold)
    natural = _natural(shapes) if shapes else None
    if len(given) > 1 or (shapes and natural is None) or not ends:
        said = sorted({*given, *shapes})
        limit = "one kind: numbers, text, bool or datetime; give it as Field(type, path, kind=…)"
        raise InvalidInput(f"fields.{name}", limit, " and ".join(said))
    if not given:
        assert natural is not None
        return natural
    kind = next(iter(given))
    if natural is not None and natural != kind and not shapes <= _ACCEPTED[kind]:
        raise InvalidInput(f"fields.{name}", f"of kind {kind} in every type", natural)
    return kind


def _natural(shapes: frozenset[Shape]) -> Kind | None:
    if shapes <= {"int", "uint"}:
        return "int"
    if shapes <= _NUMBERS:
        return "float"
    only = next(iter(shapes)) if len(shapes) == 1 else "other"
    return only if only in ("bool", "text", "datetime") else None


def _paths(end: _End, kind: Kind) -> Iterator[tuple[Role, FieldPath]]:
    """What a store is asked to read for one type."""
    wire, name = end.wire, end.type_name
    if wire is None:
        path = FieldPath(name, keys=end.keys)
        if kind == "datetime":
            yield "text", path
            return
        yield "value", path
        if kind == "float" and "decimal" in end.leaf.shapes:
            yield "text", path
        if kind == "int" and end.leaf.default is not UNSET:
            yield "wide", path
    elif kind == "datetime" and not wire.encoding:
        yield "seconds", FieldPath(name, numbers=(*wire.numbers, 1), encoding="varint")
        yield "nanos", FieldPath(name, numbers=(*wire.numbers, 2), encoding="varint")
    else:
        role: Role = "text" if kind == "datetime" else "value"
        path = FieldPath(name, numbers=wire.numbers, encoding=wire.encoding)
        yield role, path
        if kind == "int" and "uint" in end.leaf.shapes:
            yield "wide", path


def _spec_name(name: str, role: Role) -> str:
    """No column's name has a line break, so no two specs have one name."""
    return name if role == "value" else f"{name}\n{role}"


def _spec_kind(role: Role, kind: Kind) -> FieldKind:
    if role != "value":
        return _ROLE_KINDS[role]
    return "text" if kind in ("text", "strings") else cast("FieldKind", kind)


def _is_pair(selector: object) -> bool:
    if not isinstance(selector, tuple):
        return False
    pair = cast("tuple[object, ...]", selector)
    return len(pair) == 2 and isinstance(pair[1], str) and isinstance(pair[0], str | type)


def _nearest(name: str, known: Sequence[str], what: str) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    offered = close or sorted(set(known))[:12]
    return f"{what}; {'nearest' if close else 'there are'}: {', '.join(offered) or 'none'}"
