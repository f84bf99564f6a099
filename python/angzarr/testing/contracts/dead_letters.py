"""Dead letters: kept until deleted, newest first (STO-24)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from angzarr import wire
from angzarr.ports.dead_letters import DeadLetter, DeadLetterQueue
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock
from angzarr.testing.contracts.base import StoreContract


def letter(reason: str = "poison") -> bytes:
    """An encoded AngzarrDeadLetter."""
    return wire.AngzarrDeadLetter(rejection_reason=reason).SerializeToString()


class DeadLetterContract(StoreContract):
    """Claims about the dead letter queue."""

    @pytest.fixture
    def dead_letters(self, stores: Stores) -> DeadLetterQueue:
        """The dead letter queue of `stores`."""
        return stores.dead_letters

    @pytest.mark.spec("STO-24")
    async def test_the_queue_starts_empty(self, dead_letters: DeadLetterQueue) -> None:
        assert await dead_letters.list() == []

    @pytest.mark.spec("STO-24")
    async def test_a_letter_is_got_by_its_id(
        self, dead_letters: DeadLetterQueue, clock: ManualClock
    ) -> None:
        clock.advance(5)

        letter_id = await dead_letters.put(letter())

        expected = DeadLetter(letter_id, letter(), START_NS + 5 * NS_PER_S, replay_count=0)
        assert await dead_letters.get(letter_id) == expected

    @pytest.mark.spec("STO-24")
    async def test_a_letter_comes_back_byte_for_byte(self, dead_letters: DeadLetterQueue) -> None:
        stored = letter() + b"\xfa\x06\x03new"

        letter_id = await dead_letters.put(stored)

        found = await dead_letters.get(letter_id)
        assert found is not None
        assert found.letter == stored

    @pytest.mark.spec("STO-24")
    async def test_a_large_letter_is_kept(self, dead_letters: DeadLetterQueue) -> None:
        stored = letter("x" * 4_000_000)

        letter_id = await dead_letters.put(stored)

        found = await dead_letters.get(letter_id)
        assert found is not None
        assert found.letter == stored

    @pytest.mark.spec("STO-24")
    async def test_the_list_is_newest_first(
        self, dead_letters: DeadLetterQueue, clock: ManualClock
    ) -> None:
        ids: list[str] = []
        for number in range(12):
            ids.append(await dead_letters.put(letter(f"reason {number}")))
            clock.advance(1)

        assert [item.id for item in await dead_letters.list()] == ids[::-1]

    @pytest.mark.spec("STO-24")
    async def test_the_list_gives_whole_letters(self, dead_letters: DeadLetterQueue) -> None:
        ids = [await dead_letters.put(letter(reason)) for reason in ("first", "second")]

        assert await dead_letters.list() == [await dead_letters.get(item) for item in ids[::-1]]

    @pytest.mark.spec("STO-24")
    async def test_ids_ascend_within_one_instant(self, dead_letters: DeadLetterQueue) -> None:
        ids = [await dead_letters.put(letter()) for _ in range(120)]

        assert ids == sorted(set(ids))

    @pytest.mark.spec("STO-24")
    async def test_ids_ascend_with_time(
        self, dead_letters: DeadLetterQueue, clock: ManualClock
    ) -> None:
        ids: list[str] = []
        for seconds in (0, 1, 1_000, 10**8):
            clock.advance(seconds)
            ids.append(await dead_letters.put(letter()))

        assert ids == sorted(set(ids))

    @pytest.mark.spec("STO-24")
    async def test_equal_letters_are_kept_apart(self, dead_letters: DeadLetterQueue) -> None:
        await dead_letters.put(letter())
        await dead_letters.put(letter())

        assert len(await dead_letters.list()) == 2

    @pytest.mark.spec("STO-24")
    async def test_concurrent_puts_lose_nothing(self, dead_letters: DeadLetterQueue) -> None:
        reasons = [f"reason {number}" for number in range(32)]

        ids = await asyncio.gather(*(dead_letters.put(letter(reason)) for reason in reasons))

        assert len(set(ids)) == 32
        stored = {item.letter for item in await dead_letters.list(limit=100)}
        assert stored == {letter(reason) for reason in reasons}

    @pytest.mark.spec("STO-24")
    async def test_a_limit_bounds_the_list(self, dead_letters: DeadLetterQueue) -> None:
        ids = [await dead_letters.put(letter()) for _ in range(5)]

        assert [item.id for item in await dead_letters.list(limit=2)] == [ids[4], ids[3]]

    @pytest.mark.spec("STO-24")
    async def test_fifty_are_listed_unless_told(self, dead_letters: DeadLetterQueue) -> None:
        for _ in range(51):
            await dead_letters.put(letter())

        assert len(await dead_letters.list()) == 50

    @pytest.mark.spec("STO-24")
    async def test_the_list_goes_on_before_an_id(self, dead_letters: DeadLetterQueue) -> None:
        ids = [await dead_letters.put(letter()) for _ in range(5)]

        older = await dead_letters.list(before=ids[3], limit=2)

        assert [item.id for item in older] == [ids[2], ids[1]]

    @pytest.mark.spec("STO-24")
    async def test_nothing_is_before_the_oldest(self, dead_letters: DeadLetterQueue) -> None:
        oldest = await dead_letters.put(letter())
        await dead_letters.put(letter())

        assert await dead_letters.list(before=oldest) == []

    @pytest.mark.spec("STO-24")
    async def test_the_list_goes_on_before_a_deleted_id(
        self, dead_letters: DeadLetterQueue
    ) -> None:
        ids = [await dead_letters.put(letter()) for _ in range(3)]
        await dead_letters.delete(ids[2])

        older = await dead_letters.list(before=ids[2])

        assert [item.id for item in older] == [ids[1], ids[0]]

    @pytest.mark.spec("STO-24")
    @pytest.mark.parametrize("letter_id", ["", "nobody", "0", "äö", "../x"])
    async def test_an_unknown_id_gives_none(
        self, dead_letters: DeadLetterQueue, letter_id: str
    ) -> None:
        await dead_letters.put(letter())

        assert await dead_letters.get(letter_id) is None
        assert not await dead_letters.delete(letter_id)

    @pytest.mark.spec("STO-24")
    async def test_a_deleted_letter_is_gone(self, dead_letters: DeadLetterQueue) -> None:
        ids = [await dead_letters.put(letter()) for _ in range(3)]

        assert await dead_letters.delete(ids[1])

        assert await dead_letters.get(ids[1]) is None
        assert [item.id for item in await dead_letters.list()] == [ids[2], ids[0]]

    @pytest.mark.spec("STO-24")
    async def test_a_second_deletion_finds_nothing(self, dead_letters: DeadLetterQueue) -> None:
        letter_id = await dead_letters.put(letter())

        assert await dead_letters.delete(letter_id)
        assert not await dead_letters.delete(letter_id)

    @pytest.mark.spec("STO-24")
    async def test_a_deleted_id_is_not_given_again(self, dead_letters: DeadLetterQueue) -> None:
        first = await dead_letters.put(letter())
        await dead_letters.delete(first)

        assert await dead_letters.put(letter()) > first

    @pytest.mark.spec("STO-24")
    async def test_replays_are_counted(self, dead_letters: DeadLetterQueue) -> None:
        letter_id = await dead_letters.put(letter())
        stored = await dead_letters.get(letter_id)
        assert stored is not None

        assert [await dead_letters.count_replay(letter_id) for _ in range(2)] == [1, 2]

        counted = replace(stored, replay_count=2)
        assert await dead_letters.get(letter_id) == counted
        assert await dead_letters.list() == [counted]

    @pytest.mark.spec("STO-24")
    async def test_the_replays_of_one_letter_are_not_anothers(
        self, dead_letters: DeadLetterQueue
    ) -> None:
        ids = [await dead_letters.put(letter()) for _ in range(3)]

        await dead_letters.count_replay(ids[1])

        assert [item.replay_count for item in await dead_letters.list()] == [0, 1, 0]

    @pytest.mark.spec("STO-24")
    async def test_concurrent_replays_are_all_counted(self, dead_letters: DeadLetterQueue) -> None:
        letter_id = await dead_letters.put(letter())

        counts = await asyncio.gather(*(dead_letters.count_replay(letter_id) for _ in range(16)))

        assert set(counts) == set(range(1, 17))
        found = await dead_letters.get(letter_id)
        assert found is not None
        assert found.replay_count == 16

    @pytest.mark.spec("STO-24")
    async def test_replays_of_an_absent_letter_are_not_counted(
        self, dead_letters: DeadLetterQueue
    ) -> None:
        letter_id = await dead_letters.put(letter())
        await dead_letters.delete(letter_id)

        assert await dead_letters.count_replay(letter_id) is None
        assert await dead_letters.count_replay("nobody") is None

        assert await dead_letters.list() == []

    @pytest.mark.spec("STO-24")
    async def test_dead_letters_are_no_log_entries(self, stores: Stores) -> None:
        await stores.dead_letters.put(letter())

        assert await stores.events.log_head() == 0
