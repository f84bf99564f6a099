"""What the annotations of handler classes say, with mistakes told in the user's names."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any as Untyped
from typing import Final

from angzarr import codec
from angzarr.codec import PayloadType
from angzarr.handlers.decorators import Mark, Role, mark_of

NAMESPACE_FRAMES_MAX: Final = 16
"""How far up the stack local names are looked for; tests nest classes in functions."""

UNSAID: Final = object()
"""The annotation of a return value that has none."""

_MANY: Final = (
    *(list, tuple, Sequence, Iterable, Iterator, Generator),
    *(AsyncIterable, AsyncIterator, AsyncGenerator),
)
_REACTIONS: Final = (Role.HANDLES, Role.WAKES, Role.PREPARES, Role.ROUTES)


@dataclass(frozen=True, slots=True)
class Handler:
    """A marked method with its annotations evaluated.

    name: `Account.deposit`. parameter: that of the payload. place: that of a reaction's second
    parameter, None without one.
    """

    name: str
    method: str
    mark: Mark
    function: Callable[..., object]
    parameter: object
    returned: object
    place: object = None


def caller_names(depth: int) -> dict[str, object]:
    """Names local to the frames that make a class, so that its string annotations resolve.

    depth: frames between the class statement and this call.
    """
    frame: FrameType | None = sys._getframe(depth + 1)  # pyright: ignore[reportPrivateUsage]
    module = frame.f_globals
    scopes: list[Mapping[str, object]] = []
    while frame is not None and len(scopes) < NAMESPACE_FRAMES_MAX:
        if frame.f_globals is module and frame.f_locals is not module:
            scopes.append(frame.f_locals)
        frame = frame.f_back
    return {name: value for scope in reversed(scopes) for name, value in scope.items()}


def handlers_of(
    cls: type, names: Mapping[str, object], *, must_say_result: bool = True
) -> Iterator[Handler]:
    """The marked methods of `cls` and its bases, evaluated, in order of definition.

    must_say_result: whether return values are annotated. Raises TypeError for a wrong signature, a
    missing or unknown annotation, or an override without its decorator.
    """
    for function, mark in marked(cls):
        yield _handler(cls, function, mark, names, must_say_result)


def marked(cls: type) -> Iterator[tuple[FunctionType, Mark]]:
    """The marked methods of `cls` and its bases, in order of definition. Raises TypeError for an
    override without its decorator.
    """
    attributes = {name: None for base in reversed(cls.__mro__) for name in vars(base)}
    for name in attributes:
        marks = [mark_of(vars(base).get(name)) for base in cls.__mro__ if name in vars(base)]
        if not any(marks):
            continue
        if marks[0] is None:
            inherited = next(mark for mark in marks if mark is not None)
            raise TypeError(
                f"{cls.__name__}.{name} overrides a method with {inherited.role.value} without it"
            )
        yield getattr(cls, name), marks[0]


def hints_of(name: str, function: FunctionType, names: Mapping[str, object]) -> dict[str, Untyped]:
    """A method's annotations, evaluated. Raises TypeError for an unknown name in them."""
    try:
        return typing.get_type_hints(function, localns=dict(names))
    except NameError as error:
        raise TypeError(_unknown(name, error)) from error


def fields_of(cls: type, names: Mapping[str, object]) -> dict[str, object]:
    """Annotated attributes of `cls` and its bases, without ClassVars. Raises TypeError as above."""
    try:
        hints = typing.get_type_hints(cls, localns=dict(names))
    except NameError as error:
        raise TypeError(_unknown(cls.__name__, error)) from error
    return {
        name: hint for name, hint in hints.items() if typing.get_origin(hint) is not typing.ClassVar
    }


def classes_in(hint: object, owner: str) -> tuple[type, ...]:
    """The classes in `X` or `X | Y`. Raises TypeError, naming `owner`, for anything else."""
    members = tuple(_members(hint))
    for member in members:
        if not isinstance(member, type) or member in (object, type(None)):
            raise TypeError(f"{owner} is annotated {shown(hint)}; name dataclasses or messages")
    return typing.cast("tuple[type, ...]", members)


def returned_classes(hint: object, owner: str) -> tuple[type, ...]:
    """The classes in `X`, `X | None`, `list[X | Y]`, `tuple[X, Y]`, `Iterator[X]` or None."""
    found: list[type] = []
    for member in _members(hint):
        if member in (type(None), None, typing.NoReturn, typing.Never):
            continue
        origin, inner = typing.get_origin(member), typing.get_args(member)
        if origin in _MANY:
            parts = inner if origin is tuple else inner[:1]
            items = [part for part in parts if part is not ...]
            found += [cls for item in items for cls in returned_classes(item, owner)]
        else:
            found += classes_in(member, owner)
    return tuple(found)


def named_type(cls: type, domain: str, owner: str) -> PayloadType[Untyped]:
    """How `cls` travels in `domain`. Raises TypeError, naming `owner`, if it can't."""
    try:
        return codec.payload_type(cls, domain)
    except TypeError as error:
        raise TypeError(f"{owner}: {error}") from error


def twice(name: str, other: str, what: str) -> str:
    """What is said of two methods for one type."""
    return f"{name} and {other} both handle {what}; one method per type"


def shown(hint: object) -> str:
    """A hint as its author wrote it, nearly."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _handler(
    cls: type,
    function: FunctionType,
    mark: Mark,
    names: Mapping[str, object],
    must_say_result: bool,
) -> Handler:
    name = f"{cls.__name__}.{function.__name__}"
    code = function.__code__
    parameters = code.co_varnames[1 : code.co_argcount]
    is_reaction = mark.role in _REACTIONS
    if not 1 <= len(parameters) <= 1 + is_reaction or code.co_kwonlyargcount or _is_variadic(code):
        more = ", and at most a Trigger" if is_reaction else ""
        raise TypeError(
            f"{name} must take self and one payload{more}, as {mark.role.value} methods do"
        )
    said = (*parameters, "return") if must_say_result else parameters
    for wanted in said:
        if wanted not in function.__annotations__:
            what = "its return value" if wanted == "return" else f"parameter {wanted!r}"
            raise TypeError(f"{name} lacks the annotation of {what}")
    hints = hints_of(name, function, names)
    return Handler(
        name,
        function.__name__,
        mark,
        function,
        hints[parameters[0]],
        hints.get("return", UNSAID),
        hints[parameters[1]] if len(parameters) > 1 else None,
    )


def _is_variadic(code: CodeType) -> bool:
    return bool(code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))


def _members(hint: object) -> Iterator[object]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _unknown(owner: str, error: NameError) -> str:
    return (
        f"{owner} is annotated with {error.name!r}, which is not known at run time; "
        "import or define it before the class, not under TYPE_CHECKING"
    )
