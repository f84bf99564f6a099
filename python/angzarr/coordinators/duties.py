"""The worker of obligations: durable duties, fulfilled at least once (STO-23, COMP-4)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

import msgspec

from angzarr.coordinators.duty import Permanent, Postponed
from angzarr.coordinators.options import Backoff, DutyOptions
from angzarr.coordinators.pipeline import Sleep, real_sleep
from angzarr.errors import AngzarrError, StoreClosed, StoreUnavailable
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import Obligation
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.stores import Stores

NS_PER_S: Final = 1_000_000_000
BUNDLE: Final = "bundle"
"""Kind of what was recorded together."""

_log = logging.getLogger(__name__)


class Duty(Protocol):
    """How one kind of obligation is fulfilled."""

    @property
    def kind(self) -> str:
        """`Obligation.kind`. Other kinds are left to other processes."""
        ...

    @property
    def backoff(self) -> Backoff:
        """Delays after failures; its `tries` does not count here."""
        ...

    @property
    def max_attempts(self) -> int:
        """The budget; 0 is without end."""
        ...

    async def fulfil(self, obligation: Obligation) -> None:
        """Do it; it is done when this returns. obligation.attempts: those that failed.

        Raises Permanent where another attempt is of no use, Postponed where it is too early;
        whatever else it raises is a failed attempt.
        """
        ...

    async def give_up(self, obligation: Obligation, error: Exception) -> None:
        """Leave it to a person: what happened is durable when this returns. What it raises is a
        failed attempt. obligation.attempts: all of them, the last one too.
        """
        ...


class Duties:
    """One worker for all kinds of obligations of a store that this process can fulfil.

    It sleeps until the earliest one is due or somebody wakes it, and looks every `poll_s` for what
    other processes wrote. Each is leased while it is worked on; what dies with this process comes
    back when its lease is over. sleep: waits after errors of the store, in seconds.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        *,
        options: DutyOptions | None = None,
        sleep: Sleep = real_sleep,
    ) -> None:
        self._store: ObligationStore = stores.obligations
        self._clock = clock
        self._options = options or DutyOptions()
        self._sleep = sleep
        self._duties: dict[str, Duty] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._is_stopping = False
        self._is_looking = False
        self._worker: asyncio.Task[None] | None = None
        self.add(_Unpacking(self._store))

    def add(self, duty: Duty) -> None:
        """Fulfil obligations of this kind from now on. A kind has one duty."""
        assert duty.kind not in self._duties, duty.kind
        self._duties[duty.kind] = duty
        self.wake()

    async def record(self, *obligations: Obligation) -> None:
        """Store them, those with a known id once; durable when it returns, and the worker is awake.

        All or none of them: several are first stored as one, and then each by itself. Raises
        StoreUnavailable if they could not be stored, whatever the store had to say.
        """
        try:
            match obligations:
                case (obligation,):
                    await self._store.put(obligation)
                case _:
                    await self._record_together(obligations)
        except StoreUnavailable:
            raise
        except AngzarrError as error:
            raise StoreUnavailable("obligations", str(error)) from error
        self.wake()

    async def _record_together(self, obligations: Sequence[Obligation]) -> None:
        later_ns = self._clock.now_ns() + int(self._options.lease_s * NS_PER_S)
        bundle = _bundle(obligations, later_ns)
        await self._store.put(bundle)
        try:
            await asyncio.gather(*(self._store.put(obligation) for obligation in obligations))
            await self._store.close(bundle.id)
        except AngzarrError as error:
            _log.warning("%s is unpacked later: %s", bundle.id, error)

    def wake(self) -> None:
        """Look for what is due; to be called after an append that carried obligations."""
        self._news.set()

    async def run_due(self) -> int:
        """Work once on everything that is due now; how many that was. Tests own time with it."""
        due: list[Obligation] = []
        while taken := await self._take(self._options.batch):
            due += taken
        slots = asyncio.Semaphore(self._options.concurrency)

        async def run(obligation: Obligation) -> None:
            async with slots:
                await self._run(obligation)

        await asyncio.gather(*(run(obligation) for obligation in due))
        return len(due)

    async def is_idle(self) -> bool:
        """Whether nothing is due, or being worked on here."""
        due_ns = await self._store.next_due(kinds=tuple(self._duties))
        if self._running or self._is_looking:
            return False
        return due_ns is None or due_ns > self._clock.now_ns()

    async def start(self) -> None:
        """Work from now on. Idempotent."""
        if self._worker is None:
            self._is_stopping = False
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Begin nothing new, and wait for what is running. Idempotent."""
        self._is_stopping = True
        self.wake()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker
        while self._running:
            await asyncio.wait(self._running.values())

    async def _work(self) -> None:
        while not self._is_stopping:
            self._news.clear()
            room = self._options.concurrency - len(self._running)
            try:
                taken = await self._begin_due(room) if room else 0
                due_ns = await self._store.next_due(kinds=tuple(self._duties)) if room else None
            except StoreClosed:
                return
            except Exception as error:
                is_defect = not isinstance(error, AngzarrError)
                _log.warning("looking for obligations failed: %s", error, exc_info=is_defect)
                await self._sleep(self._options.retry_s)
                continue
            if taken < room or not room:
                await self._rest(due_ns)

    async def _begin_due(self, limit: int) -> int:
        """Begin up to `limit` that are due; how many."""
        self._is_looking = True
        try:
            taken = await self._take(limit)
            for obligation in taken:
                self._begin(obligation)
        finally:
            self._is_looking = False
        return len(taken)

    async def _take(self, limit: int) -> list[Obligation]:
        """Lease up to `limit` that are due, and not being worked on here."""
        found = await self._store.due(
            self._clock.now_ns(),
            limit=limit,
            lease_s=self._options.lease_s,
            kinds=tuple(self._duties),
        )
        return [obligation for obligation in found if obligation.id not in self._running]

    async def _rest(self, due_ns: int | None) -> None:
        """Wait for news, for the time `due_ns`, or until it is time to look again anyway."""
        until_ns = self._clock.now_ns() + int(self._options.poll_s * NS_PER_S)
        if due_ns is not None:
            until_ns = min(until_ns, due_ns)
        news = asyncio.ensure_future(self._news.wait())
        time = asyncio.ensure_future(self._clock.wait_until(until_ns))
        try:
            await asyncio.wait((news, time), return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            time.cancel()
            await asyncio.gather(news, time, return_exceptions=True)

    def _begin(self, obligation: Obligation) -> None:
        task = asyncio.get_running_loop().create_task(self._run(obligation))
        self._running[obligation.id] = task

        def ended(_: asyncio.Task[None]) -> None:
            del self._running[obligation.id]
            self.wake()  # there is room, and it may be due again

        task.add_done_callback(ended)

    async def _run(self, obligation: Obligation) -> None:
        """Fulfil it, or see to it that it comes back."""
        duty = self._duties[obligation.kind]
        renewal = asyncio.get_running_loop().create_task(self._renew(obligation.id))
        try:
            await self._judge(duty, obligation)
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _judge(self, duty: Duty, obligation: Obligation) -> None:
        now_ns = self._clock.now_ns
        try:
            await duty.fulfil(obligation)
        except Postponed as early:
            due_ns = now_ns() + int(early.delay_s * NS_PER_S)
            await self._again(obligation, due_ns, str(early), is_counted=False)
            return
        except Exception as error:
            if not isinstance(error, AngzarrError | Permanent):
                _log.exception("%s failed with a defect", obligation.id)
            if not await self._given_up(duty, obligation, error):
                delay_s = duty.backoff.delay_s(obligation.attempts)
                await self._again(obligation, now_ns() + int(delay_s * NS_PER_S), str(error))
                return
        await self._until_stored(lambda: self._store.close(obligation.id, seen=obligation))

    async def _given_up(self, duty: Duty, obligation: Obligation, error: Exception) -> bool:
        """Give it up if its budget is over, or it can't be fulfilled; whether that is durable."""
        attempts = obligation.attempts + 1
        is_over = 0 < duty.max_attempts <= attempts
        cause = error.cause if isinstance(error, Permanent) else error
        if not (is_over or isinstance(error, Permanent)):
            _log.info("%s failed, attempt %d: %s", obligation.id, attempts, error)
            return False
        _log.warning("%s is given up after %d attempts: %s", obligation.id, attempts, cause)
        last = replace(obligation, attempts=attempts, last_error=str(cause))
        try:
            await duty.give_up(last, cause)
        except Exception as failure:
            is_defect = not isinstance(failure, AngzarrError)
            _log.error("%s can't be given up: %s", obligation.id, failure, exc_info=is_defect)
            return False
        return True

    async def _again(
        self, obligation: Obligation, due_ns: int, error: str, *, is_counted: bool = True
    ) -> None:
        await self._until_stored(
            lambda: self._store.retry(
                obligation.id, due_ns, error, seen=obligation, is_counted=is_counted
            )
        )

    async def _until_stored(self, store: Callable[[], Awaitable[None]]) -> None:
        """Try until the store has taken it, or is closed: what is not told to it is done again."""
        while True:
            try:
                await store()
                return
            except StoreClosed:
                return
            except AngzarrError as error:
                _log.warning("recording what came of an obligation failed: %s", error)
                if self._is_stopping:
                    return
            await self._sleep(self._options.retry_s)

    async def _renew(self, obligation_id: str) -> None:
        """Keep the lease, a third of its time before the end, for as long as this runs."""
        lease_ns = int(self._options.lease_s * NS_PER_S)
        while True:
            await self._clock.wait_until(self._clock.now_ns() + lease_ns // 3)
            try:
                await self._store.renew(obligation_id, self._clock.now_ns() + lease_ns)
            except StoreClosed:
                return
            except AngzarrError as error:
                _log.warning("renewing the lease of %s failed: %s", obligation_id, error)


class _Unpacking:
    """The duty to store each of what was recorded together, if that was interrupted."""

    kind = BUNDLE
    backoff = Backoff(first_s=0.1, cap_s=60.0)
    max_attempts = 0

    def __init__(self, store: ObligationStore) -> None:
        self._store = store

    async def fulfil(self, obligation: Obligation) -> None:
        await asyncio.gather(*(self._store.put(one) for one in _decode(obligation.payload)))

    async def give_up(self, obligation: Obligation, error: Exception) -> None:
        raise AssertionError("it has no budget")


def _bundle(obligations: Sequence[Obligation], due_ns: int) -> Obligation:
    digest = hashlib.sha256()
    for obligation in obligations:
        digest.update(hashlib.sha256(obligation.id.encode()).digest())
    name = f"{BUNDLE}:{digest.hexdigest()}"
    return Obligation(name, BUNDLE, _encode(tuple(obligations)), due_ns)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Obligation, ...]).decode
