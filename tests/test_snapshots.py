"""Snapshots of apps: policies, and states whose classes have changed (SNAP rules)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import (
    Aggregate,
    App,
    Compensation,
    ProcessManager,
    applies,
    codec,
    command,
    compensates,
    handles,
    wire,
)
from angzarr.cover import Cover, root_of
from angzarr.errors import SequenceMismatch
from angzarr.ports.components import CallContext
from angzarr.testing.clock import ManualClock

ALICE = Cover("account", root_of("alice"))


@dataclass
class Deposit:
    cents: int


@dataclass
class Rename:
    name: str


@dataclass
class Deposited:
    cents: int


@dataclass
class Renamed:
    name: str


@dataclass
class Corrected:
    reason: str


class Account(Aggregate, domain="account"):
    cents: int = 0
    name: str = ""

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        return Deposited(cmd.cents)

    @command
    def rename(self, cmd: Rename) -> Renamed:
        return Renamed(cmd.name)

    @compensates
    def correct(self, compensation: Compensation) -> Corrected:
        return Corrected(f"{self.cents}: {compensation.reason}")

    @applies
    def deposited(self, event: Deposited) -> None:
        self.cents += event.cents

    @applies
    def renamed(self, event: Renamed) -> None:
        self.name = event.name

    @applies
    def corrected(self, event: Corrected) -> None:
        pass


Before = Account


def counting() -> type[Account]:
    """The class with one more field, of which the events that there are say something."""

    class Account(Before, domain="account"):
        deposit_count: int = 0

        @applies
        def deposited(self, event: Deposited) -> None:
            self.cents += event.cents
            self.deposit_count += 1

        @command
        def rename(self, cmd: Rename) -> Renamed:
            return Renamed(f"{cmd.name} ({self.deposit_count})")

    return Account


class Opened:
    """One start of an app on the store at `path`."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.account = app.domain("account")

    async def snapshots(self, cover: Cover = ALICE) -> list[tuple[int, str]]:
        """Sequence and shape of the stream's snapshots, from the newest on."""
        found: list[tuple[int, str]] = []
        data = await self.app.stores.snapshots.get(cover)
        while data is not None:
            snapshot = wire.Snapshot.FromString(data)
            found.append((snapshot.sequence, snapshot.state.type_url.split("/")[-2]))
            if not snapshot.sequence:
                break
            data = await self.app.stores.snapshots.get_at(cover, snapshot.sequence - 1)
        return found

    async def at(self, cover: Cover = ALICE) -> list[int]:
        """Where snapshots of the stream are."""
        return [sequence for sequence, _ in await self.snapshots(cover)]

    async def rested(self) -> None:
        """Wait for snapshots that are being taken."""
        coordinator = self.app._parts.coordinator
        await coordinator.close()

    def skipped(self) -> int:
        return self.app._parts.counters.values()["snapshots.skipped"]


class Bank:
    """A store that apps of several versions are started on, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()

    @asynccontextmanager
    async def open(self, *classes: type, **rule: int) -> AsyncIterator[Opened]:
        config = {f"snapshots.{name}": value for name, value in rule.items()}
        store = f"rocksdict://{self.path}"
        async with App(*classes, store=store, config=config, clock=self.clock) as app:
            opened = Opened(app)
            yield opened
            await opened.rested()

    async def deposits(self, count: int, *, every: int, **rule: int) -> None:
        """alice's first `count` deposits of 1 cent, with the class as it was."""
        async with self.open(Before, every=every, **rule) as opened:
            for _ in range(count):
                await opened.account.send("alice", Deposit(1))
                await opened.rested()


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "data")


# --- policy


@pytest.mark.spec("SNAP-7")
async def test_every_so_many_events_one_is_taken_and_the_last_few_are_kept(bank: Bank) -> None:
    async with bank.open(Account, every=3, keep_last=2) as opened:
        for _ in range(10):
            await opened.account.send("alice", Deposit(1))
            await opened.rested()

        assert await opened.at() == [8, 5]


@pytest.mark.spec("SNAP-7")
async def test_those_that_are_too_old_go_with_the_next_one(bank: Bank) -> None:
    async with bank.open(Account, every=2, keep_last=9, max_age_s=60) as opened:
        for _ in range(3):
            await opened.account.send("alice", Deposit(1))
            await opened.account.send("alice", Deposit(1))
            await opened.rested()
            bank.clock.advance(40)

        assert await opened.at() == [5, 3]


@pytest.mark.spec("SNAP-7")
async def test_those_that_are_too_old_go_after_a_restart_too(bank: Bank) -> None:
    await bank.deposits(4, every=2, keep_last=9, max_age_s=60)
    bank.clock.advance(61)

    async with bank.open(Account, every=2, keep_last=9, max_age_s=60) as opened:
        before = await opened.at()
        await opened.account.send("alice", Deposit(1))
        await opened.account.send("alice", Deposit(1))
        await opened.rested()

        assert (before, await opened.at()) == ([3, 1], [5])


@pytest.mark.spec("SNAP-7")
async def test_a_rule_of_a_domain_holds_there_alone(bank: Bank) -> None:
    config = {"snapshots.domains.account.every": 2}
    store = f"rocksdict://{bank.path}"
    async with App(Account, store=store, config=config, clock=bank.clock) as app:
        opened = Opened(app)
        await opened.account.send("alice", Deposit(1))
        await opened.account.send("alice", Deposit(1))
        await opened.rested()

        assert await opened.at() == [1]


@pytest.mark.spec("SNAP-7", "SNAP-10", "SNAP-8")
async def test_a_branch_takes_its_own_beside_those_of_main(bank: Bank) -> None:
    await bank.deposits(4, every=2)
    async with bank.open(Account, every=2) as opened:
        branch = opened.account.on("what-if", divergence=3)
        await branch.send("alice", Deposit(10))
        await branch.send("alice", Deposit(10))
        await opened.rested()

        assert await opened.at() == [3]
        assert await opened.at(ALICE.on("what-if")) == [4]
        assert (await branch.state("alice")).cents == 23


@pytest.mark.spec("SNAP-10", "EDN-22")
async def test_a_nested_branch_starts_from_a_snapshot_of_its_base(bank: Bank) -> None:
    async with App(Account, store="memory://", config={"snapshots.every": 2}) as app:
        opened = Opened(app)
        for _ in range(4):
            await opened.account.send("alice", Deposit(1))
        await opened.rested()
        await app.stores.editions.declare("inner", parent="outer")
        await opened.account.on("outer", divergence=4).send("alice", Deposit(10))

        found = await app.stores.events.load_latest(ALICE.on("inner"))

        book = wire.EventBook.FromString(found.data)
        assert (book.snapshot.sequence, [p.header.sequence for p in book.pages]) == (3, [4])


# --- a class that has changed


@pytest.mark.spec("SNAP-14")
async def test_a_field_that_is_new_is_made_of_the_events_not_of_the_snapshot(bank: Bank) -> None:
    """A snapshot without the field would load, with a count of 0."""
    await bank.deposits(3, every=3)

    async with bank.open(counting()) as opened:
        sent = await opened.account.send("alice", Rename("Alice"))

        assert [event.payload.name for event in sent.events] == ["Alice (3)"]
        assert opened.skipped() == 1


@pytest.mark.spec("SNAP-14")
async def test_a_state_of_another_type_is_skipped(bank: Bank) -> None:
    await bank.deposits(3, every=3)

    class Konto(Before, domain="account"):
        pass

    async with bank.open(Konto) as opened:
        sent = await opened.account.send("alice", Deposit(1))

        assert (sent.sequences, opened.skipped()) == ((3,), 1)


@pytest.mark.spec("SNAP-14")
async def test_bytes_that_do_not_parse_are_skipped(bank: Bank) -> None:
    await bank.deposits(3, every=0)
    async with bank.open(Account) as opened:
        state = Any(type_url="json.angzarr.io/account.Account", value=b'{"cents": "many"}')
        broken = wire.Snapshot(sequence=2, state=state).SerializeToString()
        await opened.app.stores.snapshots.put(ALICE, broken)

        sent = await opened.account.send("alice", Deposit(1))

        assert (sent.sequences, opened.skipped()) == ((3,), 1)


@pytest.mark.spec("SNAP-14")
async def test_a_snapshot_of_a_class_that_only_has_other_methods_loads(bank: Bank) -> None:
    await bank.deposits(3, every=3)

    class Account(Before, domain="account"):
        """Another text."""

        @command
        def rename(self, cmd: Rename) -> Renamed:
            return Renamed(f"{cmd.name}!")

    async with bank.open(Account) as opened:
        await opened.account.send("alice", Rename("Alice"))

        assert opened.skipped() == 0


@pytest.mark.spec("SNAP-14")
async def test_the_automatic_policy_replaces_it(bank: Bank) -> None:
    await bank.deposits(3, every=3)
    cls = counting()

    async with bank.open(cls, every=3) as opened:
        await opened.account.send("alice", Deposit(1))
        await opened.rested()
        replaced = await opened.snapshots()
        skipped = opened.skipped()
        await opened.account.send("alice", Deposit(1))

        assert replaced == [(3, cls.table().states.shape)]
        assert opened.skipped() == skipped


@pytest.mark.spec("SNAP-14", "SPEC-1")
async def test_speculation_reads_the_events(bank: Bank) -> None:
    await bank.deposits(3, every=3)

    async with bank.open(counting()) as opened:
        sent = await opened.account.speculate("alice", Rename("Alice"))

        assert [event.payload.name for event in sent.events] == ["Alice (3)"]


@pytest.mark.spec("SNAP-14", "QRY-17")
async def test_a_state_is_made_of_the_events(bank: Bank) -> None:
    from angzarr.caller import Caller

    await bank.deposits(3, every=3)

    async with bank.open(counting()) as opened:
        state = await Caller(opened.app.transport).domain("account").state("alice")

        assert state == {"cents": 3, "name": "", "deposit_count": 3}


@pytest.mark.spec("SNAP-14", "SNAP-11", "SPEC-2")
async def test_a_stale_snapshot_is_skipped_in_the_past_too(bank: Bank) -> None:
    await bank.deposits(3, every=3)

    async with bank.open(counting()) as opened:
        sent = await opened.account.speculate("alice", Rename("Alice"), at=2)

        assert [event.payload.name for event in sent.events] == ["Alice (3)"]
        assert opened.skipped() == 1


@pytest.mark.spec("SNAP-14", "CMD-41")
async def test_compensation_reads_the_events(bank: Bank) -> None:
    await bank.deposits(3, every=3)
    told = wire.Notification()
    told.payload.type_url = "type.googleapis.com/angzarr.Compensate"
    told.payload.value = wire.Compensate(sequences=[1], reason="a slip").SerializeToString()
    request = wire.CommandRequest()
    request.command.cover.domain, request.command.cover.root.value = ALICE.domain, ALICE.root
    page = request.command.pages.add()
    page.command.type_url = "type.googleapis.com/angzarr.Notification"
    page.command.value = told.SerializeToString()

    async with bank.open(counting()) as opened:
        coordinator = opened.app._parts.coordinator
        await coordinator.handle_compensation(request.SerializeToString(), CallContext())
        book = await opened.account.book("alice", first=3)

        assert [event.payload for event in book] == [Corrected("3: a slip")]


@pytest.mark.spec("SNAP-14", "CMD-20")
async def test_the_overlap_test_reads_the_events_where_the_older_snapshot_is_stale(
    bank: Bank,
) -> None:
    await bank.deposits(3, every=3)
    cls = counting()
    async with bank.open(cls, every=1, keep_last=9) as opened:
        await opened.account.send("alice", Rename("Alice"))
        await opened.rested()
        skipped = opened.skipped()

        sent = await opened.account.send(
            "alice", Deposit(1), expected_sequence=3, merge="commutative"
        )

        assert sent.sequences == (4,)
        assert opened.skipped() == skipped + 1
        assert [at for at, _ in await opened.snapshots()] != []


@pytest.mark.spec("SNAP-14", "CMD-20")
async def test_the_overlap_test_still_finds_an_overlap(bank: Bank) -> None:
    await bank.deposits(3, every=3)
    async with bank.open(counting(), every=1, keep_last=9) as opened:
        await opened.account.send("alice", Deposit(1))
        await opened.rested()

        with pytest.raises(SequenceMismatch, match="overlapping fields") as refused:
            await opened.account.send("alice", Deposit(1), expected_sequence=3, merge="commutative")

        assert refused.value.fields == ("cents", "deposit_count")


@pytest.mark.spec("SNAP-14", "SNAP-10")
async def test_below_a_branch_mains_stale_snapshot_is_skipped(bank: Bank) -> None:
    await bank.deposits(3, every=3)

    async with bank.open(counting()) as opened:
        branch = opened.account.on("what-if", divergence=3)
        sent = await branch.send("alice", Rename("Alice"))

        assert [event.payload.name for event in sent.events] == ["Alice (3)"]


@pytest.mark.spec("SNAP-14")
async def test_it_is_told_once_a_stream_and_counted_each_time(
    bank: Bank, caplog: pytest.LogCaptureFixture
) -> None:
    await bank.deposits(3, every=3)

    async with bank.open(counting()) as opened:
        with caplog.at_level(logging.WARNING, "angzarr.coordinators.counters"):
            await opened.account.send("alice", Deposit(1))
            await opened.account.send("alice", Deposit(1))

        told = [r.message for r in caplog.records if "snapshot" in r.message]
        assert len(told) == 1
        assert "other fields" in told[0]
        assert opened.skipped() == 2


@pytest.mark.spec("SNAP-14")
async def test_what_else_is_damaged_is_not_skipped(bank: Bank) -> None:
    """A page that does not parse is damage, whether or not there is a snapshot."""
    from angzarr.errors import CorruptData

    await bank.deposits(2, every=2)
    async with bank.open(Account) as opened:
        page = wire.EventPage(committed=True)
        page.header.sequence = 2
        page.event.CopyFrom(codec.pack(Deposited(1), "account"))
        page.event.value = b"{"
        await opened.app.stores.events.append(ALICE, 2, [page.SerializeToString()])

        with pytest.raises(CorruptData, match="page 2"):
            await opened.account.send("alice", Deposit(1))

        assert opened.skipped() == 0


# --- process managers


@dataclass
class Seen:
    cents: int


class Watch(ProcessManager, domain="watch", source="account", snapshot_every=2):
    total: int = 0

    @handles
    def deposited(self, event: Deposited) -> Seen:
        return Seen(event.cents)

    @applies
    def seen(self, event: Seen) -> None:
        self.total += event.cents


def watching() -> type[ProcessManager]:
    class Watch(ProcessManager, domain="watch", source="account", snapshot_every=2):
        total: int = 0
        count: int = 0

        @handles
        def deposited(self, event: Deposited) -> Seen:
            return Seen(100 * (self.count + 1))

        @applies
        def seen(self, event: Seen) -> None:
            self.total += event.cents
            self.count += 1

    return Watch


@pytest.mark.spec("SNAP-14", "PM-5")
async def test_a_process_manager_reads_its_events_and_replaces_the_snapshot(bank: Bank) -> None:
    async with bank.open(Account, Watch) as opened:
        for _ in range(2):
            await opened.account.send("alice", Deposit(1), correlation_id="c-1")
        await opened.app.settled()
    cls = watching()
    stream = Cover("watch", root_of("c-1"))

    async with bank.open(Account, cls) as opened:
        await opened.account.send("alice", Deposit(1), correlation_id="c-1")
        await opened.app.settled()
        book = await opened.app.domain("watch", types=[Seen]).book("c-1")

        assert [event.payload for event in book] == [Seen(1), Seen(1), Seen(300)]
        assert await opened.snapshots(stream) == [(2, cls.table().state.states.shape)]
        assert opened.skipped() == 1
