"""Idempotency keys: provenance and external ids (STO-12, STO-44, CMD-26 to CMD-29)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.cover import Cover, Provenance
from angzarr.ports.event_store import COMMIT, ROLLBACK, Accepted, Appended, Duplicate, EventStore
from angzarr.testing.contracts.base import StoreContract, attempt, given_pages
from angzarr.testing.pages import book_of, cover_of, page, pages, provenance

KEY = provenance()
OTHER_KEYS: dict[str, Provenance] = {
    "index": provenance(index=1),
    "hashed index": provenance(index=b"\x07" * 32),
    "component": provenance(component="saga2"),
    "no component": provenance(component=""),
    "rejection": provenance(kind=wire.REJECTION),
    "compensate": provenance(kind=wire.COMPENSATE),
    "fact": provenance(kind=wire.FACT),
    "source sequence": provenance(1),
    "source root": provenance(source=cover_of("order-2", domain="order")),
    "source domain": provenance(source=cover_of("order-1", domain="orders")),
    "source edition": provenance(source=cover_of("order-1", domain="order", edition="whatif")),
}
"""Keys that differ from KEY in one part."""


async def given_in_cascade(events: EventStore, sequence: int, cascade_id: str) -> list[bytes]:
    """One pending page under KEY; the page."""
    made = pages(sequence, 1, cascade_id=cascade_id)
    await events.append(cover_of(), sequence, made, cascade_id=cascade_id, provenance=KEY)
    return made


class IdempotencyContract(StoreContract):
    """Claims about keys that appends carry."""

    @pytest.mark.spec("STO-44", "STO-12")
    async def test_accepted_pages_are_found_by_provenance(self, events: EventStore) -> None:
        made = pages(0, 3)
        await events.append(cover_of(), 0, made, provenance=KEY)

        assert await events.find_by_provenance(cover_of(), KEY) == Accepted(tuple(made), b"")

    @pytest.mark.spec("STO-44")
    async def test_an_unknown_provenance_finds_nothing(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 3)

        assert await events.find_by_provenance(cover_of(), KEY) is None

    @pytest.mark.spec("STO-44")
    async def test_only_the_acceptances_own_pages_are_found(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 2)
        await events.append(cover_of(), 2, pages(2, 2), provenance=KEY)
        await given_pages(events, cover_of(), 2)

        found = await events.find_by_provenance(cover_of(), KEY)

        assert found == Accepted(tuple(pages(2, 2)), b"")

    @pytest.mark.spec("STO-44", "STO-12", "CMD-28")
    async def test_a_known_provenance_is_a_duplicate(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 2)
        await events.append(cover_of(), 2, pages(2, 3), provenance=KEY)

        again = await events.append(cover_of(), 5, pages(5, 1), provenance=KEY)

        assert again == Duplicate(first=2, last=4)

    @pytest.mark.spec("STO-12", "STO-44")
    async def test_a_duplicate_writes_nothing(self, events: EventStore) -> None:
        made = pages(0, 2)
        await events.append(cover_of(), 0, made, provenance=KEY)

        await events.append(cover_of(), 2, pages(2, 1), provenance=KEY)

        assert (await events.load(cover_of())).data == book_of(cover_of(), made)
        assert await events.log_head() == 2

    @pytest.mark.spec("STO-12")
    async def test_a_duplicate_stays_one_when_the_stream_grows(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 1), provenance=KEY)
        for _ in range(3):
            await given_pages(events, cover_of(), 5)

        again = await events.append(cover_of(), 0, pages(0, 1), provenance=KEY)

        assert again == Duplicate(0, 0)

    @pytest.mark.spec("STO-44", "CMD-26", "CMD-29")
    @pytest.mark.parametrize("part", sorted(OTHER_KEYS))
    async def test_keys_that_differ_in_one_part_are_both_accepted(
        self, events: EventStore, part: str
    ) -> None:
        await events.append(cover_of(), 0, [page(0, value=b"first")], provenance=KEY)

        appended = await events.append(
            cover_of(), 1, [page(1, value=b"second")], provenance=OTHER_KEYS[part]
        )

        assert appended == Appended(1, 1)
        found = await events.find_by_provenance(cover_of(), OTHER_KEYS[part])
        assert found == Accepted((page(1, value=b"second"),), b"")

    @pytest.mark.spec("STO-44", "WIRE-7")
    async def test_each_spelling_of_a_main_source_is_one_key(self, events: EventStore) -> None:
        spelled = [
            provenance(source=cover_of("order-1", domain="order", edition=edition))
            for edition in ("", "angzarr")
        ]
        await events.append(cover_of(), 0, pages(0, 1), provenance=spelled[0])

        again = await events.append(cover_of(), 1, pages(1, 1), provenance=spelled[1])

        assert again == Duplicate(0, 0)

    @pytest.mark.spec("CMD-26")
    async def test_a_sources_correlation_id_is_no_part_of_the_key(self, events: EventStore) -> None:
        source = cover_of("order-1", domain="order", correlation_id="corr-1")
        await events.append(cover_of(), 0, pages(0, 1), provenance=KEY)

        again = await events.append(
            cover_of(), 1, pages(1, 1), provenance=provenance(source=source)
        )

        assert again == Duplicate(0, 0)

    @pytest.mark.spec("STO-44")
    @pytest.mark.parametrize(
        "other", [cover_of("bob"), cover_of(domain="accounts"), cover_of(edition="whatif")]
    )
    async def test_a_key_belongs_to_its_destination(self, events: EventStore, other: Cover) -> None:
        await events.append(cover_of(), 0, pages(0, 1), provenance=KEY)

        first = await events.next_sequence(other)
        appended = await events.append(other, first, pages(first, 1), provenance=KEY)

        assert appended == Appended(first, first)

    @pytest.mark.spec("STO-44", "CMD-27", "COMP-5")
    async def test_an_acceptance_without_pages_keeps_its_answer(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, [], provenance=KEY, answer=b"answer")

        found = await events.find_by_provenance(cover_of(), KEY)

        assert found == Accepted((), b"answer")

    @pytest.mark.spec("STO-44", "CMD-27")
    async def test_an_acceptance_without_pages_is_found(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, [], provenance=KEY)

        assert await events.find_by_provenance(cover_of(), KEY) == Accepted((), b"")

    @pytest.mark.spec("STO-44", "CMD-27")
    async def test_a_key_accepted_without_pages_is_a_duplicate(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 4)
        await events.append(cover_of(), 4, [], provenance=KEY)

        again = await events.append(cover_of(), 4, pages(4, 1), provenance=KEY)

        assert again == Duplicate(first=4, last=3)

    @pytest.mark.spec("COMP-5")
    async def test_an_answer_of_64_kib_is_kept(self, events: EventStore) -> None:
        answer = bytes(range(256)) * 256
        await events.append(cover_of(), 0, pages(0, 1), provenance=KEY, answer=answer)

        found = await events.find_by_provenance(cover_of(), KEY)

        assert found == Accepted(tuple(pages(0, 1)), answer)

    @pytest.mark.spec("COMP-5", "STO-12")
    async def test_a_duplicate_does_not_change_the_answer(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, [], external_id="fact-1", answer=b"first")

        await events.append(cover_of(), 0, [], external_id="fact-1", answer=b"second")

        found = await events.find_by_external_id(cover_of(), "fact-1")
        assert found == Accepted((), b"first")

    @pytest.mark.spec("STO-44", "CMD-28")
    async def test_undecided_pages_are_found(self, events: EventStore) -> None:
        made = await given_in_cascade(events, 0, "casc-1")

        found = await events.find_by_provenance(cover_of(), KEY)
        again = await events.append(cover_of(), 1, pages(1, 1), provenance=KEY)

        assert found == Accepted(tuple(made), b"")
        assert again == Duplicate(0, 0)

    @pytest.mark.spec("STO-44", "CMD-28")
    async def test_confirmed_pages_are_found(self, events: EventStore) -> None:
        made = await given_in_cascade(events, 0, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(cover_of(), "casc-1")

        assert await events.find_by_provenance(cover_of(), KEY) == Accepted(tuple(made), b"")

    @pytest.mark.spec("STO-44", "STO-12", "CMD-28")
    async def test_revoked_pages_are_not_found(self, events: EventStore) -> None:
        await given_in_cascade(events, 0, "casc-1")
        await events.decide_cascade("casc-1", ROLLBACK)
        await events.resolve_cascade(cover_of(), "casc-1")

        assert await events.find_by_provenance(cover_of(), KEY) is None

    @pytest.mark.spec("STO-44", "CAS-6", "CAS-17")
    async def test_a_rollback_revokes_before_its_marker_is_there(self, events: EventStore) -> None:
        await given_in_cascade(events, 0, "casc-1")
        await events.decide_cascade("casc-1", ROLLBACK)

        assert await events.find_by_provenance(cover_of(), KEY) is None

    @pytest.mark.spec("STO-44", "STO-12", "CMD-28")
    async def test_a_key_of_revoked_pages_is_replaced(self, events: EventStore) -> None:
        await given_in_cascade(events, 0, "casc-1")
        await events.decide_cascade("casc-1", ROLLBACK)
        await events.resolve_cascade(cover_of(), "casc-1")

        appended = await events.append(cover_of(), 2, pages(2, 1), provenance=KEY)

        assert appended == Appended(2, 2)
        found = await events.find_by_provenance(cover_of(), KEY)
        assert found == Accepted(tuple(pages(2, 1)), b"")

    @pytest.mark.spec("STO-44", "STO-12")
    async def test_a_replaced_key_guards_again(self, events: EventStore) -> None:
        await given_in_cascade(events, 0, "casc-1")
        await events.decide_cascade("casc-1", ROLLBACK)
        await given_in_cascade(events, 1, "casc-2")

        again = await events.append(cover_of(), 2, pages(2, 1), provenance=KEY)

        assert again == Duplicate(1, 1)

    @pytest.mark.spec("STO-44", "STO-12")
    async def test_an_external_id_is_a_duplicate(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 2), external_id="fact-1")

        again = await events.append(cover_of(), 2, pages(2, 1), external_id="fact-1")

        assert again == Duplicate(first=0, last=1)

    @pytest.mark.spec("STO-44")
    async def test_accepted_pages_are_found_by_external_id(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 1)
        await events.append(cover_of(), 1, pages(1, 2), external_id="fact-1")

        found = await events.find_by_external_id(cover_of(), "fact-1")

        assert found == Accepted(tuple(pages(1, 2)), b"")

    @pytest.mark.spec("STO-44")
    async def test_different_external_ids_are_both_accepted(self, events: EventStore) -> None:
        for sequence, external_id in enumerate(("fact-1", "fact-11", "Fact-1", "fäkt")):
            appended = await events.append(
                cover_of(), sequence, pages(sequence, 1), external_id=external_id
            )
            assert appended == Appended(sequence, sequence)

    @pytest.mark.spec("STO-44")
    async def test_the_empty_external_id_is_no_key(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 1), external_id="")

        appended = await events.append(cover_of(), 1, pages(1, 1), external_id="")

        assert appended == Appended(1, 1)
        assert await events.find_by_external_id(cover_of(), "") is None

    @pytest.mark.spec("STO-44")
    @pytest.mark.parametrize(("first", "second"), [("", "whatif"), ("whatif", ""), ("a", "b")])
    async def test_editions_have_external_ids_of_their_own(
        self, events: EventStore, first: str, second: str
    ) -> None:
        await events.append(cover_of(edition=first), 0, pages(0, 1), external_id="fact-1")

        other = cover_of(edition=second)
        assert await events.find_by_external_id(other, "fact-1") is None
        head = await events.next_sequence(other)
        appended = await events.append(other, head, pages(head, 1), external_id="fact-1")

        assert appended == Appended(head, head)

    @pytest.mark.spec("STO-44")
    async def test_external_ids_and_provenances_do_not_meet(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 1), provenance=KEY)

        as_text = KEY.key.decode("latin-1")
        appended = await events.append(cover_of(), 1, pages(1, 1), external_id=as_text)

        assert appended == Appended(1, 1)

    @pytest.mark.spec("STO-44", "STO-12", "CMD-29")
    async def test_one_of_32_concurrent_provenance_duplicates_is_stored(
        self, events: EventStore
    ) -> None:
        results = await asyncio.gather(
            *(attempt(events.append(cover_of(), 0, pages(0, 2), provenance=KEY)) for _ in range(32))
        )

        assert results.count(Appended(0, 1)) == 1
        assert results.count(Duplicate(0, 1)) == 31
        assert await events.next_sequence(cover_of()) == 2

    @pytest.mark.spec("STO-44", "STO-12")
    async def test_one_of_32_concurrent_external_duplicates_is_stored(
        self, events: EventStore
    ) -> None:
        results = await asyncio.gather(
            *(
                attempt(events.append(cover_of(), 0, pages(0, 1), external_id="fact-1"))
                for _ in range(32)
            )
        )

        assert results.count(Appended(0, 0)) == 1
        assert results.count(Duplicate(0, 0)) == 31

    @pytest.mark.spec("STO-44", "CMD-29")
    async def test_32_concurrent_duplicates_without_pages_are_one(self, events: EventStore) -> None:
        results = await asyncio.gather(
            *(events.append(cover_of(), 0, [], external_id="fact-1") for _ in range(32))
        )

        assert results.count(Appended(0, -1)) == 1
        assert results.count(Duplicate(0, -1)) == 31
