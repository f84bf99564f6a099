"""The composition root."""

import asyncio
import logging
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from angzarr import (
    Aggregate,
    App,
    Position,
    Upcaster,
    applies,
    calls,
    command,
    errors,
    upcasts,
    wire,
)
from angzarr.client import connect
from angzarr.config import load
from angzarr.cover import root_of
from angzarr.errors import InvalidInput, RemoteError


@dataclass
class Add:
    item: str


@dataclass
class AddOld:
    item: str


@dataclass
class Wait:
    pass


@dataclass
class Added:
    item: str


@dataclass
class AddedLong:
    item: str


class Basket(Aggregate, domain="basket"):
    items: list[str] = field(default_factory=list)

    @command
    def add(self, cmd: Add) -> Added:
        return Added(cmd.item)

    @command
    def add_old(self, cmd: AddOld) -> AddedLong:
        return AddedLong(cmd.item)

    @command
    async def wait(self, cmd: Wait) -> None:
        await asyncio.Event().wait()

    @applies
    def added(self, event: Added) -> None:
        self.items.append(event.item)

    @applies
    def added_long(self, event: AddedLong) -> None:
        self.items.append(event.item)


class OtherBasket(Aggregate, domain="basket"):
    pass


class BasketHistory(Upcaster, domain="basket"):
    @upcasts
    def shorter(self, old: AddedLong) -> Added:
        return Added(old.item.upper())


def app_of(*definitions: type, **options: object) -> App:
    return App(*(definitions or (Basket,)), store="memory://", **options)  # type: ignore[arg-type]


@pytest.mark.spec("DEP-6", "DEP-17")
async def test_an_app_in_process_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async with app_of() as app:
        monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))

        assert (await app.domain(Basket).send("a", Add("tea"))).next_sequence == 1


def test_an_app_in_process_loads_no_grpc() -> None:
    program = """
import asyncio, sys
from angzarr import App
async def main():
    async with App(store="memory://") as app:
        assert [r async for r in app.roots()] == []
asyncio.run(main())
sys.exit("grpc" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_importing_the_package_loads_neither_grpc_nor_an_adapter() -> None:
    program = """
import sys, angzarr
found = [n for n in sys.modules if n == "grpc" or n.startswith("angzarr.stores.")]
sys.exit(", ".join(found) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import angzarr

    with pytest.raises(AttributeError, match="no attribute 'Appp'"):
        _ = angzarr.Appp  # type: ignore[attr-defined]


@pytest.mark.spec("DEP-9")
async def test_a_change_of_a_sent_message_is_not_seen_by_the_other_side() -> None:
    async with app_of() as app:
        packed = calls.pack(Add("tea"), "basket")
        await app.domain(Basket).send("a", packed)
        packed.value = b"{}"

        assert await app.domain(Basket).state("a") == Basket(items=["tea"])


@pytest.mark.spec("DEP-9")
async def test_a_deadline_holds_in_process_as_over_the_wire() -> None:
    async with app_of() as app:
        with pytest.raises(RemoteError) as caught:
            await app.domain(Basket).send("a", Wait(), timeout_s=0.01)

    assert caught.value.code == "DEADLINE_EXCEEDED"


@pytest.mark.spec("DEP-3", "DEP-12")
async def test_the_answer_over_a_port_equals_the_one_in_process() -> None:
    async with app_of() as app:
        local = await app.domain(Basket).send("a", Add("tea"))
        server = await app.serve(port=0)
        async with connect(server.addresses[0]) as client:
            remote = await client.domain(Basket).book("a")
        await server.stop(0)

    assert remote.events == local.events


@pytest.mark.spec("DEP-12")
@pytest.mark.parametrize(
    "root", [pytest.param("a", id="unknown command"), pytest.param(b"x", id="wrong root")]
)
async def test_errors_over_a_port_are_of_the_class_and_text_in_process(root: str | bytes) -> None:
    async def error(caller: App | object) -> Exception:
        with pytest.raises(errors.AngzarrError) as caught:
            await caller.domain("basket").send(root, OtherCommand())  # type: ignore[union-attr]
        return caught.value

    async with app_of() as app:
        server = await app.serve(port=0)
        async with connect(server.addresses[0]) as client:
            local, remote = await error(app), await error(client)
        await server.stop(0)

    assert (type(remote), str(remote)) == (type(local), str(local))


@dataclass
class OtherCommand:
    pass


@pytest.mark.spec("DEP-1")
async def test_two_classes_of_one_domain_stop_the_start() -> None:
    with pytest.raises(InvalidInput, match=r"Basket and .*OtherBasket"):
        await app_of(Basket, OtherBasket).start()


@pytest.mark.spec("DEP-10")
async def test_what_is_not_selected_does_not_run() -> None:
    async with app_of(select="query:events") as app:
        with pytest.raises(RemoteError, match="is not selected"):
            await app.domain(Basket).send("a", Add("tea"))

        assert len(await app.domain(Basket).book("a")) == 0


@pytest.mark.spec("DEP-16")
async def test_a_selection_that_names_nothing_stops_the_start() -> None:
    with pytest.raises(InvalidInput, match="aggregate:basket"):
        await app_of(select="aggregate:bakset").start()


@pytest.mark.spec("DEP-13")
async def test_health_knows_what_is_selected_here_only() -> None:
    async with app_of(select="aggregate:*") as app:
        server = await app.serve(port=0)
        names = server.health.names()
        await server.stop(0)

    assert "aggregate:basket" in names
    assert "angzarr.CommandHandlerCoordinatorService" in names
    assert "stream:events" not in names


@pytest.mark.spec("DEP-2", "DEP-4")
async def test_commands_to_a_coordinator_elsewhere_are_forwarded() -> None:
    async with app_of() as other:
        server = await other.serve(port=0)
        settings = {"endpoints.basket": server.addresses[0]}
        async with App(store="memory://", config=settings) as app:
            answer = await app.domain(Basket).send("a", Add("tea"), idempotency="k")
            again = await app.domain(Basket).send("a", Add("tea"), idempotency="k")
        found = await other.domain(Basket).book("a")
        await server.stop(0)

    assert answer.events == again.events == found.events


@pytest.mark.spec("DEP-4", "QRY-17")
async def test_a_state_is_asked_of_the_coordinator_elsewhere() -> None:
    async with app_of() as other:
        server = await other.serve(port=0)
        settings = {"endpoints.basket": server.addresses[0]}
        async with App(store="memory://", config=settings) as app:
            await app.domain(Basket).send("a", Add("tea"))
            await app.domain(Basket).send("a", Add("milk"))

            states = [await app.domain("basket").state("a", at=n) for n in (None, 0)]
        await server.stop(0)

    assert states == [{"items": ["tea", "milk"]}, {"items": ["tea"]}]


@pytest.mark.spec("QRY-17", "QRY-18")
async def test_states_and_positions_are_the_same_over_a_port() -> None:
    async with app_of() as app:
        server = await app.serve(port=0)
        async with connect(server.addresses[0], aggregates=[Basket]) as client:
            await client.domain("basket").send("a", Add("tea"))
            now = await client.position()
            await client.domain("basket").send("a", Add("milk"))
            typed = await client.domain("basket").state("a", at=now)
        async with connect(server.addresses[0]) as client:
            plain = await client.domain("basket").state("a", at=now)
        await server.stop(0)

    assert (now, typed.items, plain) == (Position(1), ["tea"], {"items": ["tea"]})


@pytest.mark.spec("DEP-4")
async def test_a_forwarded_command_keeps_the_error_of_the_other_side() -> None:
    async with app_of() as other:
        server = await other.serve(port=0)
        settings = {"endpoints.basket": server.addresses[0]}
        async with App(store="memory://", config=settings) as app:
            with pytest.raises(errors.AngzarrError) as caught:
                await app.domain(Basket).send("a", OtherCommand())
        await server.stop(0)

    assert "has no command basket.OtherCommand" in str(caught.value)


async def test_upcasters_lift_what_is_read() -> None:
    async with app_of(Basket, BasketHistory) as app:
        await app.domain(Basket).send("a", AddOld("tea"))

        assert (await app.domain(Basket).book("a")).events[0].payload == Added("TEA")


@pytest.mark.spec("OPS-8")
async def test_code_wins_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("storage: {type: rocksdict, path: elsewhere}")

    app = App(Basket, store="memory://", config=path)

    assert app.config.storage.url == "memory://"


async def test_a_configuration_may_be_given_whole(tmp_path: Path) -> None:
    config = load(environ={}, directory=tmp_path, code={"limits.max_payload_bytes": 20})

    async with App(Basket, store="memory://", config=config) as app:
        with pytest.raises(InvalidInput, match="max: 20 bytes"):
            await app.domain(Basket).send("a", Add("x" * 100))


async def test_a_store_url_of_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'rocksdb', 'rocksdict', 'memory' or 'grpc'"):
        await App(Basket, store="files://x").start()


async def test_an_app_that_does_not_run_says_how_to_start_it() -> None:
    with pytest.raises(RuntimeError, match=r"async with app"):
        await app_of().domain(Basket).send("a", Add("tea"))


async def test_an_app_that_runs_is_not_started_again() -> None:
    async with app_of() as app:
        with pytest.raises(RuntimeError, match="runs already"):
            await app.start()


async def test_an_app_may_be_started_again_after_it_stopped(tmp_path: Path) -> None:
    app = App(Basket, store=f"rocksdict://{tmp_path}/data")
    async with app:
        await app.domain(Basket).send("a", Add("tea"))

    async with app:
        assert await app.domain(Basket).state("a") == Basket(items=["tea"])


async def test_stopping_twice_is_harmless() -> None:
    app = app_of()
    await app.start()

    await app.stop()
    await app.stop()


def test_without_an_event_loop_the_same_calls_need_no_await() -> None:
    with app_of() as app:
        app.domain(Basket).send("a", Add("tea"))
        app.domain(Basket).send("a", Add("milk"))

        assert app.domain(Basket).state("a") == Basket(items=["tea", "milk"])
        assert [e.sequence for e in app.domain(Basket).events("a")] == [0, 1]


def test_leaving_a_synchronous_iteration_early_lets_the_app_close() -> None:
    with app_of() as app:
        app.domain(Basket).send("a", Add("tea"))
        for _ in app.domain(Basket).follow("a"):
            break

        assert [c.root for c in app.roots("basket")] == [root_of("a")]


def test_a_wrong_configuration_is_told_to_synchronous_callers_too() -> None:
    with pytest.raises(InvalidInput, match=r"limits.nonsense"):
        app_of(config={"limits.nonsense": 1}).sync()


@pytest.mark.spec("OPS-14")
async def test_a_store_that_is_not_durable_is_announced_in_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "angzarr"):
        async with app_of():
            pass

    messages = [r.getMessage() for r in caplog.records if r.name == "angzarr"]
    assert len(messages) == 1
    assert "memory:// is not durable" in messages[0]


@pytest.mark.spec("OPS-1")
async def test_a_store_that_fails_is_not_serving() -> None:
    async with app_of() as app:
        server = await app.serve(port=0)
        await app.stores.close()
        async with connect(server.addresses[0]) as client:
            with pytest.raises(errors.AngzarrError):
                await client.domain(Basket).send("a", Add("tea"))
        state = server.health.is_serving()
        await server.stop(0)

    assert state is False


@pytest.mark.spec("OPS-2", "DEP-13")
async def test_a_handler_elsewhere_that_is_away_does_not_stop_the_start(
    unused_port: int,
) -> None:
    settings = {"target": {"domain": "basket", "address": "127.0.0.1", "port": unused_port}}
    async with App(store="memory://", config=settings) as app:
        server = await app.serve(port=0)
        names = server.health.names()
        await server.stop(0)

    assert names["aggregate:basket"] is False


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.spec("UPC-1")
async def test_a_remote_upcaster_needs_an_address_where_the_handler_is_local() -> None:
    with pytest.raises(InvalidInput, match=r"upcaster\.address"):
        await app_of(config={"upcaster.enabled": True}).start()


@pytest.mark.spec("OPS-12")
async def test_a_server_listens_on_a_unix_socket_by_configuration(tmp_path: Path) -> None:
    settings = {"transport": {"type": "uds", "uds": {"base_path": str(tmp_path)}}}
    async with App(Basket, store="memory://", config=settings) as app:
        server = await app.serve()
        address = server.addresses[0]
        async with connect(address) as client:
            answer = await client.domain(Basket).send("a", Add("tea"))
        await server.stop(0)

    assert address == f"unix:{tmp_path}/angzarr-basket.sock"
    assert answer.events[0].payload == Added("tea")


@pytest.mark.spec("CMD-4")
async def test_an_app_without_aggregates_knows_no_domain() -> None:
    async with App(store="memory://") as app:
        with pytest.raises(errors.UnknownDomain, match="basket"):
            await app.domain("basket").send("a", wire.NoOp())
