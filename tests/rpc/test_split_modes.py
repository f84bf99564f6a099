"""The four error modes with reactions in a process of their own: the claims about one process, once
more (DEP-12).
"""

# ruff: noqa: F403

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from angzarr.errors import CommandRejected

from ..coordinators.test_error_modes import *
from .splitting import SplitWorld

pytestmark = pytest.mark.spec("DEP-12", "SYNC-11")


@pytest.fixture
async def world() -> AsyncIterator[SplitWorld]:
    made = SplitWorld()
    made.refused["refused=1"] = CommandRejected("no room")
    await made.start()
    yield made
    await made.close()
