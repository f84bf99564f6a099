"""Played branches as two tables: the branches, and the events that they made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any as Untyped
from typing import Final

import numpy as np
from numpy.typing import NDArray

from angzarr.data.batch import Array, Batch
from angzarr.data.columns import Reader
from angzarr.data.playing import OUTCOMES, REFUSED, Played
from angzarr.errors import HandlerFailed, InvalidInput
from angzarr.stores._scanning import Rows  # pyright: ignore[reportPrivateUsage]

_OWN: Final = ("branch", "point", "outcome", "reason", "steps", "events")
_DTYPES: Final[Mapping[type, Untyped]] = {
    bool: np.bool_,
    int: np.int64,
    float: np.float64,
    str: np.object_,
}
_NOTHING: Final[Mapping[type, Untyped]] = {bool: False, int: 0, float: np.nan, str: None}


class Tables:
    """Makes batches of branches; those of one exploration have the same columns."""

    def __init__(
        self, reader: Reader, observe: Callable[[Untyped], Mapping[str, Untyped]] | None
    ) -> None:
        self._reader = reader
        self._observe = observe
        self._observed: dict[str, type] | None = None

    def branches(self, played: Sequence[Played]) -> Batch:
        """A row for each branch. Raises HandlerFailed if `observe` does, InvalidInput for what it
        says that is no scalar, or not of the kind that came first."""
        reasons = np.empty(len(played), object)
        reasons[:] = [one.reason for one in played]
        columns: dict[str, Array] = {
            "branch": np.array([one.index for one in played], np.int64),
            "point": np.array([one.point for one in played], np.int32),
            "outcome": np.array([one.outcome for one in played], np.int32),
            "reason": reasons,
            "steps": np.array([one.step_count for one in played], np.int32),
            "events": np.array([len(one.events) for one in played], np.int32),
        }
        valid = {"reason": columns["outcome"] == REFUSED}
        if self._observe is not None:
            self._add_observed(columns, valid, [self._seen(one) for one in played])
        return Batch(columns, valid, {"outcome": OUTCOMES})

    def events(self, played: Sequence[Played]) -> Batch:
        """A row for each event, in the branches' order."""
        rows = Rows(self._reader.specs())
        for one in played:
            rows.add_bare(one.start.cover.stream, one.events)
        found = self._reader.batch(rows.columns(0))
        counts = np.array([len(one.events) for one in played], np.int64)
        columns: dict[str, Array] = {
            "branch": np.repeat(np.array([one.index for one in played], np.int64), counts),
            "point": np.repeat(np.array([one.point for one in played], np.int32), counts),
            "step": np.array([step for one in played for step in one.steps], np.int32),
        }
        kept = ("sequence", "time", "type", *(plan.name for plan in self._reader.plans))
        columns |= {name: found[name] for name in kept}
        categories = {n: c for n, c in found.categories.items() if n in columns}
        return Batch(columns, found.valid, categories, payloads=found.payloads)

    def _seen(self, one: Played) -> Mapping[str, Untyped]:
        assert self._observe is not None
        try:
            return dict(self._observe(one.state))
        except Exception as error:
            what = f"branch {one.index}: {type(error).__name__}: {error}"
            raise HandlerFailed("observe", what) from error

    def _add_observed(
        self,
        columns: dict[str, Array],
        valid: dict[str, NDArray[np.bool_]],
        seen: Sequence[Mapping[str, Untyped]],
    ) -> None:
        if self._observed is None:
            self._observed = _kinds(seen)
        for name, kind in self._observed.items():
            values = [one.get(name) for one in seen]
            mask = np.array([value is not None for value in values], np.bool_)
            filled = [_NOTHING[kind] if value is None else value for value in values]
            _check(name, kind, values)
            columns[name] = np.array(filled, _DTYPES[kind])
            valid[name] = mask
        for one in seen:
            if unknown := one.keys() - self._observed.keys():
                raise InvalidInput("observe", "the names of the first batch", min(unknown))


def _kinds(seen: Sequence[Mapping[str, Untyped]]) -> dict[str, type]:
    """The kind of each column: of numbers float where one is a float or all are None."""
    found: dict[str, set[type]] = {}
    for one in seen:
        for name, value in one.items():
            if name in _OWN:
                raise InvalidInput("observe", "names other than " + ", ".join(_OWN), name)
            kinds = found.setdefault(name, set())
            if value is not None:
                kinds.add(_kind_of(name, value))
    return {name: _common(name, kinds) for name, kinds in found.items()}


def _common(name: str, kinds: set[type]) -> type:
    if not kinds or kinds == {int, float}:
        return float
    if len(kinds) > 1:
        said = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise InvalidInput(f"observe.{name}", "of one kind in every branch", said)
    return next(iter(kinds))


def _kind_of(name: str, value: object) -> type:
    if isinstance(value, bool | np.bool_):
        return bool
    if isinstance(value, int | np.integer):
        return int
    if isinstance(value, str):
        return str
    if isinstance(value, float | np.floating) or hasattr(value, "__float__"):
        return float
    raise InvalidInput(f"observe.{name}", "a number, bool, str or None", value)


def _check(name: str, kind: type, values: Sequence[object]) -> None:
    for value in values:
        if value is None:
            continue
        found = _kind_of(name, value)
        if found is not kind and not (kind is float and found is int):
            limit = f"{kind.__name__}, as in the first batch"
            raise InvalidInput(f"observe.{name}", limit, f"{value!r}")
