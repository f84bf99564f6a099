"""The callers' face of editions over a world's coordinators."""

from __future__ import annotations

from angzarr import editions
from angzarr.coordinators import EditionCoordinator, EditionOptions
from angzarr.edition_caller import Editions
from angzarr.local_transport import Calls, LocalTransport


def desk(world, **options: object) -> Editions:
    """Editions of the world, served by its coordinator for commands."""
    served = EditionCoordinator(
        world.commands.pipeline,
        world.commands.components,
        options=EditionOptions(**options),
        clock=world.clock,
    )
    calls = Calls(
        {
            editions.DECLARE: served.declare,
            editions.GET: served.get,
            editions.DELETE: served.delete,
        },
        {
            editions.LIST: served.list_editions,
            editions.LIST_BRANCHES: served.list_branches,
            editions.DIFF: served.diff,
            editions.PROMOTE: served.promote,
        },
    )
    return Editions(LocalTransport(lambda: calls))


async def everything(answers):
    """What an asynchronous iteration gives."""
    return [item async for item in answers]
