"""The caller's face over an app in this process."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from angzarr import Aggregate, App, Position, applies, calls, command, errors, reject, wire
from angzarr.caller import Caller, Domain
from angzarr.cover import Provenance, root_of
from angzarr.testing.clock import ManualClock


@dataclass
class Deposit:
    amount_cents: int


@dataclass
class Rename:
    name: str


@dataclass
class Close:
    pass


@dataclass
class Deposited:
    amount_cents: int


@dataclass
class Renamed:
    name: str


class Account(Aggregate, domain="account"):
    balance_cents: int = 0
    name: str = ""

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        if cmd.amount_cents <= 0:
            reject("deposit a positive amount")
        return Deposited(cmd.amount_cents)

    @command
    def rename(self, cmd: Rename) -> Renamed:
        return Renamed(cmd.name)

    @command(merge="strict")
    def close(self, cmd: Close) -> None:
        return None

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents

    @applies
    def renamed(self, event: Renamed) -> None:
        self.name = event.name


class Recorded:
    """A transport that keeps what is sent and answers nothing."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, dict[str, str | bytes], float | None]] = []

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = {},
    ) -> bytes:
        self.requests.append((method, request, dict(metadata), timeout_s))
        return b""

    async def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = {},
    ) -> AsyncIterator[bytes]:
        self.requests.append((method, request, dict(metadata), timeout_s))
        return
        yield b""

    async def close(self) -> None:
        pass

    def command(self) -> tuple[wire.CommandPage, dict[str, str | bytes]]:
        """The page of the last command, and its metadata."""
        _, request, metadata, _ = self.requests[-1]
        return wire.CommandRequest.FromString(request).command.pages[0], metadata


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def app(clock: ManualClock, tmp_path: Path) -> AsyncIterator[App]:
    async with App(Account, store="memory://", clock=clock) as app:
        yield app


@pytest.fixture
def account(app: App) -> Domain[Account]:
    return app.domain(Account)


@pytest.fixture
def sent() -> Recorded:
    return Recorded()


async def test_a_command_is_answered_with_its_typed_events(account: Domain[Account]) -> None:
    answer = await account.send("alice", Deposit(500))

    assert [event.payload for event in answer.events] == [Deposited(500)]


async def test_the_answer_has_the_sequences_and_the_streams_next_one(
    account: Domain[Account],
) -> None:
    await account.send("alice", Deposit(500))

    answer = await account.send("alice", Deposit(1))

    assert (answer.sequences, answer.next_sequence) == ((1,), 2)


async def test_a_refusal_is_an_error_with_the_domains_words(account: Domain[Account]) -> None:
    with pytest.raises(errors.CommandRejected, match=r"^deposit a positive amount$"):
        await account.send("alice", Deposit(0))


@pytest.mark.spec("CMD-24")
async def test_a_plain_send_is_deferred_so_that_it_never_mismatches(sent: Recorded) -> None:
    await Caller(sent).domain("account").send("alice", Deposit(5))

    page, _ = sent.command()
    assert page.header.WhichOneof("sequence_type") == "angzarr_deferred"


@pytest.mark.spec("CMD-26")
async def test_a_request_that_the_transport_delivers_twice_is_executed_once(app: App) -> None:
    sent = Recorded()
    await Caller(sent).domain("account").send("alice", Deposit(5))
    _, request, metadata, _ = sent.requests[0]
    transport = app._transport  # pyright: ignore[reportPrivateUsage]

    for _ in range(2):
        await transport.unary(calls.HANDLE_COMMAND, request, metadata=metadata)

    assert len(await app.domain(Account).book("alice")) == 1


async def test_two_plain_sends_of_the_same_command_are_two_commands(
    account: Domain[Account],
) -> None:
    for _ in range(2):
        await account.send("alice", Deposit(5))

    assert (await account.book("alice")).next_sequence == 2


@pytest.mark.spec("CMD-28")
async def test_a_repeated_key_is_answered_with_the_first_acceptance(
    account: Domain[Account],
) -> None:
    first = await account.send("alice", Deposit(5), idempotency="order-1")
    await account.send("alice", Deposit(6))

    again = await account.send("alice", Deposit(5), idempotency="order-1")

    assert again.events == first.events
    assert len(await account.book("alice")) == 2


@pytest.mark.spec("CMD-25")
async def test_a_stamped_command_with_a_key_is_executed_once(account: Domain[Account]) -> None:
    for _ in range(2):
        await account.send("alice", Deposit(5), expected_sequence=0, idempotency="order-1")

    assert len(await account.book("alice")) == 1


async def test_plain_sends_at_once_are_all_accepted(account: Domain[Account]) -> None:
    await asyncio.gather(*(account.send("alice", Deposit(1)) for _ in range(20)))

    assert (await account.state("alice")) == Account(balance_cents=20)


@pytest.mark.spec("CMD-12")
async def test_a_stamp_that_is_the_next_sequence_is_accepted(account: Domain[Account]) -> None:
    await account.send("alice", Deposit(5))

    answer = await account.send("alice", Deposit(5), expected_sequence=1, merge="strict")

    assert answer.sequences == (1,)


@pytest.mark.spec("CMD-14")
async def test_a_strict_stamp_on_a_moved_stream_says_where_the_stream_is(
    account: Domain[Account],
) -> None:
    await account.send("alice", Deposit(5))

    with pytest.raises(errors.SequenceMismatch) as caught:
        await account.send("alice", Deposit(5), expected_sequence=0, merge="strict")

    assert (caught.value.expected, caught.value.actual) == (0, 1)


@pytest.mark.spec("CMD-15")
async def test_a_stamp_alone_merges_changes_of_other_fields(account: Domain[Account]) -> None:
    await account.send("alice", Deposit(5))

    answer = await account.send("alice", Rename("Alice"), expected_sequence=0)

    assert answer.sequences == (1,)


@pytest.mark.spec("CMD-13")
@pytest.mark.parametrize("merge", list(calls.MERGES))
async def test_every_strategy_reaches_the_wire(sent: Recorded, merge: calls.Merge) -> None:
    await Caller(sent).domain("account").send("a", Deposit(5), expected_sequence=3, merge=merge)

    page, _ = sent.command()
    assert (page.header.sequence, page.merge_strategy) == (3, calls.MERGES[merge])


async def test_the_class_names_the_strategy_of_a_stamp(sent: Recorded) -> None:
    await Caller(sent).domain(Account).send("a", Close(), expected_sequence=3)

    page, _ = sent.command()
    assert page.merge_strategy == wire.MERGE_STRICT


@pytest.mark.parametrize("merge", ["commutative", "strict", "manual"])
async def test_a_strategy_that_compares_needs_a_stamp(sent: Recorded, merge: calls.Merge) -> None:
    with pytest.raises(ValueError, match="give expected_sequence too"):
        await Caller(sent).domain("account").send("a", Deposit(5), merge=merge)


async def test_a_mistyped_option_names_the_choices(sent: Recorded) -> None:
    with pytest.raises(ValueError, match="sync_mode must be one of async, simple, cascade"):
        await Caller(sent).domain("account").send("a", Deposit(5), sync_mode="now")  # type: ignore[arg-type]


@pytest.mark.spec("WIRE-12")
async def test_the_correlation_id_goes_in_the_cover_and_beside_it(sent: Recorded) -> None:
    await Caller(sent).domain("account").send("a", Deposit(5), correlation_id="c-1")

    _, request, metadata, _ = sent.requests[-1]
    cover = wire.CommandRequest.FromString(request).command.cover
    assert (cover.correlation_id, metadata["x-correlation-id"]) == ("c-1", "c-1")


async def test_the_deadline_goes_to_the_transport(sent: Recorded) -> None:
    await Caller(sent).domain("account").send("a", Deposit(5), timeout_s=1.5)

    assert sent.requests[-1][3] == 1.5


async def test_a_branch_and_its_start_go_in_the_cover(sent: Recorded) -> None:
    await Caller(sent).domain("account", edition="what-if", divergence=3).send("a", Deposit(5))

    edition = wire.CommandRequest.FromString(sent.requests[-1][1]).command.cover.edition
    assert edition == wire.Edition(
        name="what-if", divergences=[wire.DomainDivergence(domain="account", sequence=3)]
    )


async def test_a_branch_does_not_change_main(account: Domain[Account]) -> None:
    await account.send("alice", Deposit(5))

    await account.on("what-if").send("alice", Deposit(7))

    assert (await account.state("alice")) == Account(balance_cents=5)
    assert (await account.on("what-if").state("alice")) == Account(balance_cents=12)


async def test_a_root_is_a_name_a_uuid_or_its_bytes(account: Domain[Account]) -> None:
    root = root_of("alice")
    for spelling in ("alice", str(uuid.UUID(bytes=root)), uuid.UUID(bytes=root), root):
        await account.send(spelling, Deposit(5))

    assert [r async for r in account.roots()] == [root]


@pytest.mark.spec("SPEC-1")
async def test_speculation_answers_and_stores_nothing(account: Domain[Account]) -> None:
    answer = await account.speculate("alice", Deposit(5))

    assert [event.payload for event in answer.events] == [Deposited(5)]
    assert len(await account.book("alice")) == 0


@pytest.mark.spec("SPEC-2")
async def test_speculation_on_an_earlier_state_numbers_from_there(account: Domain[Account]) -> None:
    for _ in range(3):
        await account.send("alice", Deposit(5))

    answer = await account.speculate("alice", Deposit(5), at=0)

    assert answer.sequences == (1,)


@pytest.mark.spec("FACT-3")
async def test_a_fact_is_recorded_once_for_its_external_id(account: Domain[Account]) -> None:
    first = await account.record("alice", Deposited(5), external_id="bank-1")

    again = await account.record("alice", Deposited(5), external_id="bank-1")

    assert (first.is_duplicate, again.is_duplicate) == (False, True)
    assert again.events == first.events


async def test_facts_without_an_event_are_a_mistake(account: Domain[Account]) -> None:
    with pytest.raises(ValueError, match="at least one event"):
        await account.record("alice")


async def test_events_come_in_order_with_sequence_time_and_type(
    account: Domain[Account], clock: ManualClock
) -> None:
    await account.send("alice", Deposit(5))
    clock.advance(60)
    await account.send("alice", Rename("Alice"))

    found = [(e.sequence, e.created_at, e.type_name) async for e in account.events("alice")]

    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert found == [
        (0, start, "account.Deposited"),
        (1, start + timedelta(seconds=60), "account.Renamed"),
    ]


@pytest.fixture
async def five(account: Domain[Account], clock: ManualClock) -> Domain[Account]:
    """alice with deposits of 0 + 1 to 4 + 1 cents, a minute apart."""
    for amount in range(5):
        await account.send("alice", Deposit(amount + 1))
        clock.advance(60)
    return account


@pytest.mark.spec("QRY-6")
async def test_a_range_includes_both_ends(five: Domain[Account]) -> None:
    assert [e.sequence async for e in five.events("alice", first=1, last=3)] == [1, 2, 3]


@pytest.mark.spec("QRY-7")
async def test_chosen_sequences_come_ascending(five: Domain[Account]) -> None:
    assert [e.sequence async for e in five.events("alice", sequences=[4, 0, 9])] == [0, 4]


@pytest.mark.spec("QRY-7")
async def test_no_chosen_sequences_are_no_events(five: Domain[Account]) -> None:
    assert [e async for e in five.events("alice", sequences=[])] == []


@pytest.mark.spec("QRY-8")
async def test_as_of_a_time_are_the_events_created_by_then(five: Domain[Account]) -> None:
    moment = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)

    assert [e.sequence async for e in five.events("alice", at=moment)] == [0, 1, 2]


async def test_a_time_without_a_zone_is_a_mistake(five: Domain[Account]) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await five.book("alice", at=datetime(2026, 1, 1))


async def test_two_selections_at_once_are_a_mistake(five: Domain[Account]) -> None:
    with pytest.raises(ValueError, match="choose one"):
        await five.book("alice", first=1, at=2)


async def test_the_state_is_rebuilt_from_the_events(five: Domain[Account]) -> None:
    assert await five.state("alice") == Account(balance_cents=15)


async def test_the_state_as_of_a_sequence_ends_there(five: Domain[Account]) -> None:
    assert await five.state("alice", at=1) == Account(balance_cents=3)


@pytest.mark.spec("QRY-16")
async def test_the_state_at_a_position_is_what_the_log_had_then(
    app: App, account: Domain[Account]
) -> None:
    await account.send("alice", Deposit(1))
    await account.send("bob", Deposit(2))
    await account.send("alice", Deposit(4))

    found = [await account.state("alice", at=Position(n)) for n in range(4)]

    assert [state.balance_cents for state in found] == [0, 1, 1, 5]


@pytest.mark.spec("QRY-16")
async def test_speculation_at_a_position_decides_on_what_the_log_had_then(
    five: Domain[Account],
) -> None:
    answer = await five.speculate("alice", Deposit(5), at=Position(2))

    assert answer.sequences == (2,)


@pytest.mark.spec("QRY-17")
async def test_without_the_class_the_state_is_what_the_servers_class_has(
    app: App, five: Domain[Account]
) -> None:
    named = Caller(app.transport).domain("account")

    found = [await named.state("alice"), await named.state("alice", at=0)]

    assert found == [
        {"balance_cents": 15, "name": ""},
        {"balance_cents": 1, "name": ""},
    ]


@pytest.mark.spec("QRY-17")
async def test_without_the_class_an_unknown_root_has_no_state(app: App) -> None:
    assert await Caller(app.transport).domain("account").state("nobody") is None


@pytest.mark.spec("QRY-18")
async def test_the_position_now_is_a_point_for_later(app: App, five: Domain[Account]) -> None:
    now = await app.position()
    await five.send("alice", Deposit(1000))

    assert await five.state("alice", at=now) == Account(balance_cents=15)


@pytest.mark.spec("QRY-18")
async def test_the_position_of_an_empty_log_is_zero(app: App) -> None:
    assert await app.position() == Position(0)


async def test_a_domain_that_is_named_has_the_class_of_the_apps_definitions(
    app: App, five: Domain[Account]
) -> None:
    assert await app.domain("account").state("alice") == Account(balance_cents=15)


async def test_a_client_is_given_the_classes_of_domains_that_are_named(
    app: App, five: Domain[Account]
) -> None:
    client = Caller(app.transport, [Account])

    assert await client.domain("account").state("alice", at=0) == Account(balance_cents=1)


@pytest.mark.spec("QRY-3")
async def test_an_unknown_root_is_an_empty_book(account: Domain[Account]) -> None:
    book = await account.book("nobody")

    assert (book.events, book.next_sequence) == ((), 0)


async def test_an_event_of_an_unknown_dataclass_is_its_json(app: App) -> None:
    client = Caller(app.transport)
    await client.domain("account").send("alice", Deposit(5))

    book = await client.domain("account").book("alice")

    assert book.events[0].payload == {"amount_cents": 5}


async def test_event_classes_may_be_named_beside_a_domains_name(app: App) -> None:
    domain = app.domain("account", types=[Deposited])

    assert (await domain.send("alice", Deposit(5))).events[0].payload == Deposited(5)


async def test_a_payload_may_be_packed_already(app: App) -> None:
    packed = calls.pack(Deposit(5), "account")

    answer = await app.domain(Account).send("alice", packed)

    assert answer.events[0].payload == Deposited(5)


async def test_following_a_stream_gives_what_is_there_and_what_comes(
    account: Domain[Account],
) -> None:
    await account.send("alice", Deposit(1))
    found: list[object] = []
    async for event in account.follow("alice", poll_s=0.001):
        found.append(event.payload)
        if len(found) == 3:
            break
        await account.send("alice", Deposit(len(found) + 1))

    assert found == [Deposited(1), Deposited(2), Deposited(3)]


@pytest.mark.spec("QRY-1")
async def test_correlated_events_come_from_every_stream(account: Domain[Account], app: App) -> None:
    await account.send("alice", Deposit(1), correlation_id="c-1")
    await account.send("bob", Deposit(2), correlation_id="c-1")
    await account.send("bob", Deposit(3), correlation_id="c-2")

    found = [event async for event in app.correlated("c-1", domain="account")]

    assert {event.cover.root for event in found} == {root_of("alice"), root_of("bob")}
    assert len(found) == 2


@pytest.mark.spec("QRY-20")
async def test_following_a_correlation_id_gives_what_comes(
    account: Domain[Account], app: App
) -> None:
    first = asyncio.ensure_future(anext(app.follow("c-1")))
    await asyncio.sleep(0)  # one turn of the loop registers the subscriber

    await account.send("alice", Deposit(1), correlation_id="c-1")

    assert (await first).payload == {"amount_cents": 1}


@pytest.mark.spec("QRY-14")
async def test_roots_of_all_domains_are_covers(account: Domain[Account], app: App) -> None:
    await account.send("alice", Deposit(1))

    assert [(c.domain, c.root) async for c in app.roots()] == [("account", root_of("alice"))]


def test_a_provenance_with_an_index_of_bytes_does_not_travel() -> None:
    cover = calls.cover_of(wire.Cover(domain="a"))

    with pytest.raises(TypeError, match="does not travel"):
        calls.provenance_bytes(Provenance(cover, 0, index=b"x"))


def test_the_generated_face_is_up_to_date() -> None:
    root = Path(__file__).resolve().parent.parent

    done = subprocess.run([sys.executable, root / ".ci" / "generate_sync.py", "--check"])

    assert done.returncode == 0
