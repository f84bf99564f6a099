"""Claims about a read store: rows and positions in one transaction (PROJ-4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from angzarr.cover import Cover
from angzarr.errors import InvalidInput, StoreClosed
from angzarr.ports.read_store import ReadModel, ReadStore
from angzarr.testing.pages import cover_of

ALICE = cover_of("alice")
NAME = "statement"

OTHERS: dict[str, Cover] = {
    "domain": cover_of("alice", domain="accounts"),
    "root": cover_of("bob"),
    "edition": cover_of("alice", edition="whatif"),
}


class Boom(Exception):
    """What a block raises."""


class ReadStoreContract:
    """Base of the suite. A subclass gives `store`, a ReadStore of an empty place that has some
    table for rows, and says how a row is written and what a query would read.

    class TestMine(ReadStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return Sqlite(tmp_path / "rows.sqlite", "CREATE TABLE IF NOT EXISTS row (key, value)")

        async def write(self, db, key, value):
            db.execute("INSERT INTO row VALUES (?, ?)", (key, value))

        async def rows(self, store):
            return dict(map(tuple, store.reader().rows("SELECT key, value FROM row")))

    can_clear: whether the store can delete a projector's rows by itself. Tests are coroutines:
    pytest-asyncio in auto mode runs them.
    """

    can_clear = True

    @pytest.fixture
    def store(self) -> ReadStore[Any]:
        """A read store of an empty place."""
        raise NotImplementedError("give a `store` fixture with a ReadStore of an empty place")

    async def write(self, db: Any, key: str, value: str) -> None:
        """Write a row with what a transaction gives."""
        raise NotImplementedError

    async def rows(self, store: ReadStore[Any]) -> dict[str, str]:
        """The rows that a query service would read now."""
        raise NotImplementedError

    @pytest.fixture
    async def model(self, store: ReadStore[Any]) -> AsyncIterator[ReadModel[Any]]:
        """The store, open."""
        model = await store.open(NAME)
        yield model
        await model.close()

    @pytest.mark.spec("PROJ-4")
    async def test_rows_and_position_are_committed_together(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        async with model.transaction() as unit:
            await self.write(unit.db, "a", "1")
            await unit.put_position(ALICE, 5)
            await unit.put_cursor(17)

        assert await self.rows(store) == {"a": "1"}
        assert await _places(model, ALICE) == (5, 17)

    @pytest.mark.spec("PROJ-4")
    async def test_a_block_that_raises_leaves_neither(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        await _put(model, ALICE, 4, cursor=16)

        with contextlib.suppress(Boom):
            async with model.transaction() as unit:
                await self.write(unit.db, "a", "1")
                await unit.put_position(ALICE, 5)
                await unit.put_cursor(17)
                raise Boom

        assert await self.rows(store) == {}
        assert await _places(model, ALICE) == (4, 16)

    @pytest.mark.spec("PROJ-4")
    async def test_what_a_block_raises_passes_as_it_is(self, model: ReadModel[Any]) -> None:
        async def block() -> None:
            async with model.transaction():
                raise Boom

        with pytest.raises(Boom):
            await block()

    @pytest.mark.spec("PROJ-4")
    async def test_a_cancelled_block_leaves_neither(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        begun = asyncio.Event()

        async def block() -> None:
            async with model.transaction() as unit:
                await self.write(unit.db, "a", "1")
                await unit.put_position(ALICE, 5)
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(block())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert await self.rows(store) == {}
        assert await _places(model, ALICE) == (None, None)

    @pytest.mark.spec("DEP-7")
    async def test_a_reader_sees_nothing_before_the_commit(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        async with model.transaction() as unit:
            await self.write(unit.db, "a", "1")
            before = await self.rows(store)

        assert before == {}
        assert await self.rows(store) == {"a": "1"}

    @pytest.mark.spec("PROJ-4")
    async def test_the_next_transaction_goes_on_after_one_that_failed(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        with contextlib.suppress(Boom):
            async with model.transaction() as unit:
                await self.write(unit.db, "a", "1")
                raise Boom

        async with model.transaction() as unit:
            await self.write(unit.db, "b", "2")

        assert await self.rows(store) == {"b": "2"}

    @pytest.mark.spec("PROJ-4")
    async def test_an_empty_read_model_has_no_places(self, model: ReadModel[Any]) -> None:
        assert await _places(model, ALICE) == (None, None)

    @pytest.mark.spec("PROJ-4")
    @pytest.mark.parametrize("sequence", [0, 255, 65_536, 2**32 - 1])
    async def test_any_sequence_is_a_position(self, model: ReadModel[Any], sequence: int) -> None:
        await _put(model, ALICE, sequence)

        assert (await _places(model, ALICE))[0] == sequence

    @pytest.mark.spec("PROJ-4")
    @pytest.mark.parametrize("position", [0, 2**40])
    async def test_any_log_position_is_a_cursor(self, model: ReadModel[Any], position: int) -> None:
        await _put(model, ALICE, 0, cursor=position)

        assert (await _places(model, ALICE))[1] == position

    @pytest.mark.spec("PROJ-4")
    async def test_a_transaction_sees_what_it_has_put(self, model: ReadModel[Any]) -> None:
        async with model.transaction() as unit:
            await unit.put_position(ALICE, 5)
            await unit.put_cursor(17)
            assert (await unit.position(ALICE), await unit.cursor()) == (5, 17)

            await unit.put_position(ALICE, 6)
            assert await unit.position(ALICE) == 6

    @pytest.mark.spec("PROJ-4")
    async def test_places_advance(self, model: ReadModel[Any]) -> None:
        await _put(model, ALICE, 5, cursor=17)
        await _put(model, ALICE, 6, cursor=18)

        assert await _places(model, ALICE) == (6, 18)

    @pytest.mark.spec("PROJ-4")
    @pytest.mark.parametrize("part", sorted(OTHERS))
    async def test_positions_of_streams_are_apart(self, model: ReadModel[Any], part: str) -> None:
        await _put(model, ALICE, 5)
        await _put(model, OTHERS[part], 2)

        assert (await _places(model, ALICE))[0] == 5
        assert (await _places(model, OTHERS[part]))[0] == 2

    @pytest.mark.spec("WIRE-7")
    async def test_each_spelling_of_main_has_one_position(self, model: ReadModel[Any]) -> None:
        await _put(model, cover_of(edition="angzarr"), 5)

        assert (await _places(model, cover_of(edition="")))[0] == 5

    @pytest.mark.spec("PROJ-4")
    async def test_the_correlation_id_is_no_part_of_the_key(self, model: ReadModel[Any]) -> None:
        await _put(model, cover_of(correlation_id="corr-1"), 5)

        assert (await _places(model, cover_of(correlation_id="corr-2")))[0] == 5

    @pytest.mark.spec("PROJ-4", "PROJ-6")
    async def test_everything_is_there_after_opening_again(self, store: ReadStore[Any]) -> None:
        model = await store.open(NAME)
        async with model.transaction() as unit:
            await self.write(unit.db, "a", "1")
            await unit.put_position(ALICE, 5)
            await unit.put_cursor(17)
        await model.close()

        model = await store.open(NAME)

        assert await self.rows(store) == {"a": "1"}
        assert await _places(model, ALICE) == (5, 17)
        await model.close()

    @pytest.mark.spec("PROJ-9")
    async def test_forgetting_leaves_rows_and_takes_places(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        async with model.transaction() as unit:
            await self.write(unit.db, "a", "1")
            await unit.put_position(ALICE, 5)
            await unit.put_cursor(17)

        async with model.transaction() as unit:
            await unit.forget()
            assert (await unit.position(ALICE), await unit.cursor()) == (None, None)

        assert await self.rows(store) == {"a": "1"}
        assert await _places(model, ALICE) == (None, None)

    @pytest.mark.spec("PROJ-9")
    async def test_forgetting_is_undone_with_its_transaction(self, model: ReadModel[Any]) -> None:
        await _put(model, ALICE, 5, cursor=17)

        with contextlib.suppress(Boom):
            async with model.transaction() as unit:
                await unit.forget()
                assert await unit.position(ALICE) is None
                raise Boom

        assert await _places(model, ALICE) == (5, 17)

    @pytest.mark.spec("PROJ-15")
    async def test_forgetting_an_edition_leaves_others(self, model: ReadModel[Any]) -> None:
        branch, other = cover_of(edition="whatif"), cover_of(edition="other")
        elsewhere = cover_of(edition="whatif", domain="order")
        for cover in (ALICE, branch, other, elsewhere):
            await _put(model, cover, 5)

        async with model.transaction() as unit:
            await unit.forget_edition("account", "whatif")

        assert (await _places(model, branch))[0] is None
        for cover in (ALICE, other, elsewhere):
            assert (await _places(model, cover))[0] == 5

    @pytest.mark.spec("PROJ-15")
    async def test_what_the_transaction_put_before_is_forgotten_too(
        self, model: ReadModel[Any]
    ) -> None:
        branch = cover_of(edition="whatif")
        async with model.transaction() as unit:
            await unit.put_position(branch, 5)
            await unit.put_position(ALICE, 3)
            await unit.forget_edition("account", "whatif")
            await unit.put_position(cover_of("bob", edition="whatif"), 1)

        assert (await _places(model, branch))[0] is None
        assert (await _places(model, ALICE))[0] == 3
        assert (await _places(model, cover_of("bob", edition="whatif")))[0] == 1

    @pytest.mark.spec("PROJ-9")
    async def test_clearing_takes_all_rows(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        async with model.transaction() as unit:
            await self.write(unit.db, "a", "1")
            await unit.put_position(ALICE, 5)

        async with model.transaction() as unit:
            is_cleared = await unit.clear()

        assert is_cleared is self.can_clear
        assert await self.rows(store) == ({} if self.can_clear else {"a": "1"})
        assert (await _places(model, ALICE))[0] == 5

    @pytest.mark.spec("PROJ-9")
    async def test_a_cleared_read_model_is_filled_again(
        self, store: ReadStore[Any], model: ReadModel[Any]
    ) -> None:
        if not self.can_clear:
            return
        async with model.transaction() as unit:
            await self.write(unit.db, "a", "1")

        async with model.transaction() as unit:
            await unit.clear()
            await self.write(unit.db, "b", "2")

        assert await self.rows(store) == {"b": "2"}

    @pytest.mark.spec("PROJ-4")
    async def test_the_generation_stays(self, store: ReadStore[Any]) -> None:
        model = await store.open(NAME)
        async with model.transaction() as unit:
            first = await unit.generation()
        await model.close()

        model = await store.open(NAME)
        async with model.transaction() as unit:
            await unit.put_position(ALICE, 5)
            assert await unit.generation() == first
        await model.close()

    @pytest.mark.spec("PROJ-4", "DEP-14")
    async def test_transactions_exclude_each_other(self, store: ReadStore[Any]) -> None:
        """Also those of two processes, as in a takeover: each is seen by the next."""
        models = [await store.open(NAME), await store.open(NAME)]

        async def advance(model: ReadModel[Any]) -> None:
            for _ in range(16):
                async with model.transaction() as unit:
                    position = await unit.position(ALICE)
                    await asyncio.sleep(0)
                    await unit.put_position(ALICE, 0 if position is None else position + 1)

        await asyncio.gather(*map(advance, models), *map(advance, models))

        assert (await _places(models[0], ALICE))[0] == 4 * 16 - 1
        for model in models:
            await model.close()

    @pytest.mark.spec("PROJ-4")
    async def test_after_closing_nothing_begins(self, store: ReadStore[Any]) -> None:
        model = await store.open(NAME)
        await model.close()
        await model.close()

        with pytest.raises(StoreClosed):
            async with model.transaction():
                pass

    @pytest.mark.spec("PROJ-4")
    async def test_closing_waits_for_the_running_transaction(self, store: ReadStore[Any]) -> None:
        model = await store.open(NAME)
        begun, goes_on = asyncio.Event(), asyncio.Event()

        async def block() -> None:
            async with model.transaction() as unit:
                begun.set()
                await goes_on.wait()
                await self.write(unit.db, "a", "1")

        task = asyncio.ensure_future(block())
        await begun.wait()
        closing = asyncio.ensure_future(model.close())
        goes_on.set()
        await asyncio.gather(task, closing)

        assert await self.rows(store) == {"a": "1"}

    @pytest.mark.spec("PROJ-4")
    async def test_projectors_do_not_meet(self, store: ReadStore[Any]) -> None:
        """Another projector has places of its own there, or is refused."""
        model = await store.open(NAME)
        await _put(model, ALICE, 5, cursor=17)
        await model.close()

        try:
            other = await store.open("another")
        except InvalidInput as error:
            refusal = str(error)
        else:
            refusal = ""
            assert await _places(other, ALICE) == (None, None)
            await other.close()
        assert not refusal or NAME in refusal

    async def test_the_place_is_text_for_people(self, store: ReadStore[Any]) -> None:
        assert store.place


async def _put(
    model: ReadModel[Any], cover: Cover, sequence: int, *, cursor: int | None = None
) -> None:
    async with model.transaction() as unit:
        await unit.put_position(cover, sequence)
        if cursor is not None:
            await unit.put_cursor(cursor)


async def _places(model: ReadModel[Any], cover: Cover) -> tuple[int | None, int | None]:
    async with model.transaction() as unit:
        return await unit.position(cover), await unit.cursor()
