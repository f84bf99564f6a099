"""Duties that survive restarts (STO-23, STO-49)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.errors import SequenceConflict
from angzarr.ports.event_store import Obligation
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S
from angzarr.testing.contracts.replacing import ReplacingContract
from angzarr.testing.pages import cover_of, pages

LATE = 2**62


def duty(name: str = "duty-1", due_ns: int = 100, payload: bytes = b"payload") -> Obligation:
    """An obligation."""
    return Obligation(name, "compensation", payload, due_ns)


class ObligationStoreContract(ReplacingContract):
    """Claims about the obligation store."""

    @pytest.fixture
    def obligations(self, stores: Stores) -> ObligationStore:
        """The obligation store of `stores`."""
        return stores.obligations

    @pytest.mark.spec("STO-49", "STO-23")
    async def test_nothing_is_due_at_first(self, obligations: ObligationStore) -> None:
        assert await obligations.due(LATE) == []

    @pytest.mark.spec("STO-49", "STO-23")
    async def test_an_obligation_comes_back_as_put(self, obligations: ObligationStore) -> None:
        put = Obligation("d-1", "kind", bytes(range(256)), 7, attempts=3, last_error="äh")

        await obligations.put(put)

        assert await obligations.due(7) == [put]

    @pytest.mark.spec("STO-23")
    async def test_an_open_one_is_found_by_its_id(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100)

        assert await obligations.get("duty-1") == duty()
        assert await obligations.get("duty-2") is None
        await obligations.close("duty-1")
        assert await obligations.get("duty-1") is None

    @pytest.mark.spec("STO-49")
    async def test_an_obligation_is_due_at_its_time(self, obligations: ObligationStore) -> None:
        await obligations.put(duty(due_ns=100))

        assert await obligations.due(99) == []
        assert await obligations.due(100) == [duty(due_ns=100)]

    @pytest.mark.spec("STO-49")
    async def test_due_ones_come_by_time_then_id(self, obligations: ObligationStore) -> None:
        for name, due_ns in (("b", 300), ("d", 5), ("a", 300), ("c", 70_000), ("e", 256)):
            await obligations.put(duty(name, due_ns))

        assert [item.id for item in await obligations.due(LATE)] == ["d", "e", "a", "b", "c"]

    @pytest.mark.spec("STO-49")
    async def test_a_limit_takes_the_first(self, obligations: ObligationStore) -> None:
        for name, due_ns in (("b", 3), ("a", 9), ("c", 5)):
            await obligations.put(duty(name, due_ns))

        assert [item.id for item in await obligations.due(LATE, limit=2)] == ["b", "c"]
        assert [item.id for item in await obligations.due(LATE, limit=2)] == ["a"]

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_put_is_idempotent_by_id(self, obligations: ObligationStore) -> None:
        await obligations.put(duty(payload=b"first"))

        await obligations.put(duty(payload=b"second", due_ns=1))

        assert await obligations.due(LATE) == [duty(payload=b"first")]

    @pytest.mark.spec("STO-23")
    async def test_an_append_does_not_replace_a_known_one(self, stores: Stores) -> None:
        await stores.obligations.put(duty(payload=b"first"))

        await stores.events.append(
            cover_of(), 0, pages(0, 1), obligations=[duty(payload=b"second")]
        )

        assert await stores.obligations.due(LATE) == [duty(payload=b"first")]

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_what_is_leased_is_not_given_again(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=30)

        assert await obligations.due(100 + 30 * NS_PER_S - 1) == []

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_a_lease_ends(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=30)

        assert await obligations.due(100 + 30 * NS_PER_S) == [duty()]

    @pytest.mark.spec("STO-23")
    async def test_a_lease_of_zero_leases_nothing(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=0)

        assert await obligations.due(100) == [duty()]

    @pytest.mark.spec("STO-23")
    async def test_a_lease_can_be_shorter_than_a_second(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=0.25)

        assert await obligations.due(100 + NS_PER_S // 4 - 1) == []
        assert await obligations.due(100 + NS_PER_S // 4) == [duty()]

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_replicas_share_the_work(self, obligations: ObligationStore) -> None:
        names = [f"duty-{number:02}" for number in range(40)]
        for name in names:
            await obligations.put(duty(name))

        shares = await asyncio.gather(*(obligations.due(100, limit=7) for _ in range(8)))

        assert sorted(item.id for share in shares for item in share) == names

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_a_retry_counts_and_keeps_the_error(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())

        await obligations.retry("duty-1", 500, "unreachable")
        await obligations.retry("duty-1", 700, "rejected")

        assert await obligations.due(700) == [
            Obligation("duty-1", "compensation", b"payload", 700, 2, "rejected")
        ]

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_a_retry_is_due_at_its_new_time(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())

        await obligations.retry("duty-1", 500, "unreachable")

        assert await obligations.due(499) == []
        assert [item.id for item in await obligations.due(500)] == ["duty-1"]

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_a_retry_ends_the_lease(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=3_600)

        await obligations.retry("duty-1", 200, "unreachable")

        assert [item.id for item in await obligations.due(200)] == ["duty-1"]

    @pytest.mark.spec("STO-23")
    async def test_a_retry_may_be_due_earlier(self, obligations: ObligationStore) -> None:
        await obligations.put(duty(due_ns=500))

        await obligations.retry("duty-1", 50, "unreachable")

        assert [item.due_ns for item in await obligations.due(LATE)] == [50]

    @pytest.mark.spec("STO-23")
    async def test_a_retry_of_an_unknown_one_does_nothing(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.retry("duty-9", 50, "unreachable")

        assert await obligations.due(LATE) == []

    @pytest.mark.spec("STO-49", "STO-23")
    async def test_a_closed_one_is_gone(self, obligations: ObligationStore) -> None:
        await obligations.put(duty("a"))
        await obligations.put(duty("ab"))

        await obligations.close("a")

        assert [item.id for item in await obligations.due(LATE)] == ["ab"]

    @pytest.mark.spec("STO-49", "STO-23")
    async def test_a_leased_one_can_be_closed(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100)

        await obligations.close("duty-1")

        assert await obligations.due(LATE) == []

    @pytest.mark.spec("STO-23")
    async def test_closing_an_unknown_one_does_nothing(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())

        await obligations.close("duty-9")
        await obligations.close("duty-9")

        assert await obligations.due(LATE) == [duty()]

    @pytest.mark.spec("STO-23")
    async def test_a_closed_id_may_be_put_again(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100)
        await obligations.close("duty-1")

        await obligations.put(duty(payload=b"again"))

        assert await obligations.due(100) == [duty(payload=b"again")]

    @pytest.mark.spec("STO-23")
    async def test_a_retry_after_close_brings_nothing_back(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(duty())
        await obligations.close("duty-1")

        await obligations.retry("duty-1", 1, "late")

        assert await obligations.due(LATE) == []

    @pytest.mark.spec("STO-23", "STO-11")
    async def test_an_append_writes_several(self, stores: Stores) -> None:
        duties = [duty("a"), duty("b")]

        await stores.events.append(cover_of(), 0, pages(0, 1), obligations=duties)

        assert await stores.obligations.due(LATE) == duties

    @pytest.mark.spec("STO-23", "STO-11", "STO-3")
    async def test_a_refused_append_writes_none(self, stores: Stores) -> None:
        with pytest.raises(SequenceConflict):
            await stores.events.append(cover_of(), 1, pages(1, 1), obligations=[duty()])

        assert await stores.obligations.due(LATE) == []

    @pytest.mark.spec("STO-23")
    async def test_only_the_kinds_that_are_asked_for_are_given(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(Obligation("t-1", "timer", b"", 100))
        await obligations.put(duty())

        assert await obligations.due(100, kinds=("output",)) == []
        assert await obligations.due(100, kinds=("timer", "output")) == [
            Obligation("t-1", "timer", b"", 100)
        ]
        assert await obligations.due(100) == [duty()]

    @pytest.mark.spec("STO-23")
    async def test_the_next_due_time_is_the_earliest(self, obligations: ObligationStore) -> None:
        for name, due_ns in (("b", 300), ("d", 5), ("c", 70_000)):
            await obligations.put(duty(name, due_ns))

        assert await obligations.next_due() == 5

    @pytest.mark.spec("STO-23")
    async def test_nothing_is_due_next_without_any(self, obligations: ObligationStore) -> None:
        assert await obligations.next_due() is None

        await obligations.put(duty())
        await obligations.close("duty-1")

        assert await obligations.next_due() is None

    @pytest.mark.spec("STO-23")
    async def test_a_leased_one_is_due_next_when_its_lease_ends(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(duty())
        await obligations.put(duty("duty-2", due_ns=100 * NS_PER_S))
        await obligations.due(100, lease_s=30)

        assert await obligations.next_due() == 100 + 30 * NS_PER_S

    @pytest.mark.spec("STO-23")
    async def test_the_next_due_time_is_that_of_the_kinds_asked_for(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(Obligation("t-1", "timer", b"", 100))
        await obligations.put(duty(due_ns=200))

        assert await obligations.next_due(kinds=("compensation",)) == 200
        assert await obligations.next_due(kinds=("output",)) is None

    @pytest.mark.spec("STO-23")
    async def test_the_next_due_time_follows_a_retry(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100)

        await obligations.retry("duty-1", 900, "unreachable")

        assert await obligations.next_due() == 900

    @pytest.mark.spec("STO-23")
    async def test_a_renewed_lease_lasts(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=1)

        await obligations.renew("duty-1", 60 * NS_PER_S)

        assert await obligations.due(60 * NS_PER_S - 1) == []
        assert await obligations.due(60 * NS_PER_S) == [duty()]

    @pytest.mark.spec("STO-23")
    async def test_a_renewal_never_shortens_a_lease(self, obligations: ObligationStore) -> None:
        await obligations.put(duty())
        await obligations.due(100, lease_s=30)

        await obligations.renew("duty-1", 200)

        assert await obligations.due(200) == []

    @pytest.mark.spec("STO-23")
    async def test_renewing_an_unknown_one_does_nothing(self, obligations: ObligationStore) -> None:
        await obligations.renew("duty-9", LATE)
        await obligations.put(duty("duty-9"))

        assert await obligations.due(100) == [duty("duty-9")]

    @pytest.mark.spec("STO-23")
    async def test_a_retry_that_was_no_attempt_is_not_counted(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(duty())

        await obligations.retry("duty-1", 500, "not yet", is_counted=False)

        assert await obligations.due(500) == [
            Obligation("duty-1", "compensation", b"payload", 500, 0, "not yet")
        ]
