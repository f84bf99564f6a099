"""Several targets: who gets a letter, and where letters are read from."""

from __future__ import annotations

import pytest

from angzarr.deadletters.chain import Chain, Target
from angzarr.errors import CorruptData, DeadLetterRefused, StoreUnavailable
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import ManualClock


class Sink:
    """Keeps letters, or raises `error`; it can't be read."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.letters: list[bytes] = []

    async def put(self, letter: bytes) -> str:
        if self.error:
            raise self.error
        self.letters.append(letter)
        return f"sink-{len(self.letters)}"


def queue_of(clock: ManualClock) -> Target:
    queue = open_stores("memory://", clock=clock).dead_letters
    return Target("store", queue, queue)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.mark.spec("DLQ-6")
async def test_the_first_target_that_takes_a_letter_is_the_only_one_that_gets_it() -> None:
    sinks = [Sink(StoreUnavailable("a", "away")), Sink(), Sink()]
    chain = Chain([Target("logging", sink) for sink in sinks])

    letter_id = await chain.put(b"letter")

    assert letter_id == "sink-1"
    assert [sink.letters for sink in sinks] == [[], [b"letter"], []]


@pytest.mark.spec("DLQ-6")
async def test_the_log_tells_which_target_failed(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain([Target("store", Sink(CorruptData("here", "a", "b"))), Target("logging", Sink())])

    await chain.put(b"letter")

    assert "a dead letter was not taken by store: corrupt data at here" in caplog.text


@pytest.mark.spec("DLQ-5")
async def test_a_letter_that_no_target_takes_is_a_failed_environment() -> None:
    failures = [StoreUnavailable("a", "away"), CorruptData("here", "a", "b")]
    chain = Chain([Target("store", Sink(failures[0])), Target("filesystem", Sink(failures[1]))])

    with pytest.raises(StoreUnavailable) as refused:
        await chain.put(b"letter")

    assert "store: store a is unavailable: away; filesystem: corrupt data" in str(refused.value)
    assert refused.value.__cause__ is failures[1]


@pytest.mark.spec("DLQ-6")
async def test_a_failed_target_gets_the_next_letter_again() -> None:
    first, second = Sink(StoreUnavailable("a", "away")), Sink()
    chain = Chain([Target("logging", first), Target("logging", second)])
    await chain.put(b"one")

    first.error = None
    await chain.put(b"two")

    assert (first.letters, second.letters) == ([b"two"], [b"one"])


@pytest.mark.spec("DLQ-7")
async def test_letters_of_all_readable_targets_are_one_list(clock: ManualClock) -> None:
    targets = [queue_of(clock), Target("logging", Sink()), queue_of(clock)]
    ids: list[str] = []
    for index in (0, 2, 0, 2):
        clock.advance(1)
        ids.append(await targets[index].sink.put(b""))
    chain = Chain(targets)

    assert [letter.id for letter in await chain.list()] == ids[::-1]
    assert [letter.id for letter in await chain.list(limit=2)] == ids[:1:-1]
    assert [letter.id for letter in await chain.list(before=ids[2], limit=1)] == [ids[1]]


@pytest.mark.spec("DLQ-7")
async def test_a_letter_is_reached_in_whichever_target_it_is(clock: ManualClock) -> None:
    targets = [queue_of(clock), queue_of(clock)]
    letter_id = await targets[1].sink.put(b"letter")
    chain = Chain(targets)

    assert await chain.count_replay(letter_id) == 1
    found = await chain.get(letter_id)
    assert found is not None
    assert (found.letter, found.replay_count) == (b"letter", 1)
    assert await chain.delete(letter_id)
    assert await targets[1].queue.list() == []  # type: ignore[union-attr]


@pytest.mark.spec("DLQ-7")
async def test_an_id_that_no_target_has_is_unknown(clock: ManualClock) -> None:
    chain = Chain([queue_of(clock), queue_of(clock)])

    assert await chain.get("nobody") is None
    assert await chain.count_replay("nobody") is None
    assert not await chain.delete("nobody")


@pytest.mark.spec("DLQ-7")
async def test_without_a_readable_target_reading_names_the_types() -> None:
    chain = Chain([Target("logging", Sink()), Target("channel", Sink())])

    for call in (chain.list(), chain.get("x"), chain.delete("x"), chain.count_replay("x")):
        with pytest.raises(DeadLetterRefused, match=r"dlq.targets \(logging, channel\) can't be"):
            await call
