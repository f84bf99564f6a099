"""One telling of the shop's story in one shape: everything that is compared."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from . import scenario
from .driving import Shop
from .shapes import COMPONENTS, SETTINGS, Site
from .watching import Seen, Wanted, cursors, seen, settled

Shape = Callable[[Site], AbstractAsyncContextManager[None]]
PARTS = ("open_shop", "trade", "inquire", "crowd", "undo", "mishaps")
PARTS_OF_PEERS = PARTS[:-2]
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@dataclass
class Told:
    """answers: by request. seen: after each part; after the last one when all have stopped, since
    projectors that keep their rows themselves have positions stored late. cursors: of consumers
    then. services: what reflection lists at the client's address. health: of components and
    services there.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    cursors: dict[str, int | None] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    health: dict[str, int] = field(default_factory=dict)

    def log(self, part: str) -> list[str]:
        """What the part has added to the log."""
        before = PARTS.index(part) - 1
        start = len(self.seen[PARTS[before]].log) if before >= 0 else 0
        return self.seen[part].log[start:]


async def tell(site: Site, shape: Shape, parts: Sequence[str], consumers: Wanted) -> Told:
    """The story in one shape."""
    told = Told()
    async with shape(site), at(site, consumers) as (shop, look):
        for part in parts:
            await getattr(scenario, part)(shop)
            told.seen[part] = await look()
        told.answers = shop.answers
        told.services = await services(site.address)
        names = [name for name in told.services if name.startswith("angzarr.")]
        told.health = await health(site.address, [*names, *COMPONENTS])
    async with site.own_stores() as stores:
        told.seen[parts[-1]] = await seen(stores, site.read_models, shop.plain)
        told.cursors = await cursors(stores)
    return told


@asynccontextmanager
async def at(
    site: Site, consumers: Wanted, before: Shop | None = None
) -> AsyncIterator[tuple[Shop, Callable[[], Awaitable[Seen]]]]:
    """A client of the running shop, and a look at all that it has. before: goes on from there."""
    stores = site.stores()

    async def settle() -> None:
        await settled(stores, consumers)

    shop = Shop(site.address, settle)
    if before is not None:
        shop.answers, shop.made_up = before.answers, before.made_up

    async def look() -> Seen:
        return await seen(stores, site.read_models, shop.plain)

    try:
        yield shop, look
    finally:
        await shop.close()
        await stores.close()


@contextmanager
def place(**settings: object) -> Iterator[Site]:
    """A folder whose path leaves room for a socket's name. settings: in place of the usual ones."""
    folder = Path(tempfile.mkdtemp(prefix="angzarr-"))
    yield Site(folder, settings or SETTINGS)
    shutil.rmtree(folder)


async def services(address: str) -> set[str]:
    """What reflection lists."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(REFLECTION)()
        await call.write(request.SerializeToString())
        await call.done_writing()
        answer = reflection_pb2.ServerReflectionResponse.FromString(await call.read())
        call.cancel()
    return {service.name for service in answer.list_services_response.service}


async def health(address: str, names: Sequence[str]) -> dict[str, int]:
    """The state of each name, -1 for one that is not known."""
    found: dict[str, int] = {}
    async with grpc.aio.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for name in names:
            request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
            try:
                answer = await check(request)
                found[name] = health_pb2.HealthCheckResponse.FromString(answer).status
            except grpc.aio.AioRpcError:
                found[name] = -1
    return found
