"""Training data: the log, branches of history and explored futures as numpy arrays and files.

    from angzarr import data

    for batch in data.batches("rocksdb://data", domains="hand"):
        batch["time"], batch.categories["type"]

Needs the extra `data` (numpy, pyarrow); MissingExtra is raised where a name is first used without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from angzarr.errors import MissingExtra

if TYPE_CHECKING:
    from angzarr.data.batch import Batch, Payloads
    from angzarr.data.exploring import Exploration, Explored, explore
    from angzarr.data.fields import Field
    from angzarr.data.files import Writer, writer
    from angzarr.data.numpy_files import load
    from angzarr.data.playing import Branch
    from angzarr.data.points import Point
    from angzarr.data.reading import Batches, batches, read, read_async

__all__ = [
    "Batch",
    "Batches",
    "Branch",
    "Exploration",
    "Explored",
    "Field",
    "Payloads",
    "Point",
    "Writer",
    "batches",
    "explore",
    "load",
    "read",
    "read_async",
    "writer",
]

EXTRA: Final = "data"
_PACKAGES: Final = frozenset(("numpy", "pyarrow"))
_LATER: Final = {
    "Batch": "batch",
    "Batches": "reading",
    "Branch": "playing",
    "Exploration": "exploring",
    "Explored": "exploring",
    "Field": "fields",
    "Payloads": "batch",
    "Point": "points",
    "Writer": "files",
    "batches": "reading",
    "explore": "exploring",
    "load": "numpy_files",
    "read": "reading",
    "read_async": "reading",
    "writer": "files",
}


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'angzarr.data' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"angzarr.data.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name in _PACKAGES:
            raise MissingExtra(error.name, EXTRA) from error
        raise
