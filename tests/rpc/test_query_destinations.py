"""Where streams end, asked of another coordinator: the claims of test_destinations over a wire."""

# ruff: noqa: F403

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from angzarr import errors, wire
from angzarr.coordinators import QueryCoordinator
from angzarr.coordinators.destinations import QueryDestinations, describe
from angzarr.ports.components import CallContext
from angzarr.rpc.queries_client import RemoteQueries
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.server import Server, ServerOptions

from ..coordinators.conftest import town  # noqa: F401
from ..coordinators.reacting import DOMAINS, ROOT
from ..coordinators.test_destinations import *
from ..coordinators.test_destinations import on


@pytest.fixture
async def queries(town: Any) -> AsyncIterator[RemoteQueries]:  # noqa: F811
    """The town's EventQueryService, by way of a server."""
    served = QueryCoordinator(town.stores.events)
    server = Server(queries=served, options=ServerOptions(port=0, grace_s=0))
    endpoint = Endpoint((await server.start())[0])
    yield RemoteQueries(endpoint)
    await endpoint.close()
    await server.stop()


@pytest.fixture
def destinations(queries: RemoteQueries) -> QueryDestinations:
    return QueryDestinations(queries, DOMAINS)


@pytest.mark.spec("SAGA-6", "EDN-7", "EDN-8")
async def test_impossible_divergences_are_told(town: Any, destinations: Any) -> None:  # noqa: F811
    """As RemoteErrors of the same code and kind: a store that is closed there is not closed here,
    which its class would say."""
    await town.fill("player", 3)
    await town.fill("player", 1, edition="what-if")

    for source, code in (
        (on("other", player=9), "INVALID_ARGUMENT"),
        (on("what-if", player=1), "FAILED_PRECONDITION"),
    ):
        with pytest.raises(errors.RemoteError) as caught:
            await describe(destinations, ["player"], source, ROOT)
        assert (caught.value.code, caught.value.error_kind) == (code, "edition")


@pytest.mark.spec("SAGA-12")
async def test_a_coordinator_that_is_gone_is_unavailable() -> None:
    endpoint = Endpoint("127.0.0.1:1")

    with pytest.raises(errors.RemoteError) as caught:
        await describe(QueryDestinations(RemoteQueries(endpoint), DOMAINS), ["player"], on(), ROOT)

    assert caught.value.code == "UNAVAILABLE"
    await endpoint.close()


async def test_what_is_asked_wrongly_is_told_as_the_coordinator_does(
    queries: RemoteQueries,
) -> None:
    query = wire.Query()
    query.cover.domain, query.cover.root.value = "player", b"short"

    with pytest.raises(errors.RemoteError, match="Invalid UUID") as caught:
        [book async for book in queries.get_events(query.SerializeToString(), CallContext())]

    assert (caught.value.code, caught.value.error_kind) == ("INVALID_ARGUMENT", "invalid_input")
