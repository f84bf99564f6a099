"""Killing processes that own a store, and checking what they left: shared by all crash tests."""

from __future__ import annotations

import json
import os
import random
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from workload import DOMAIN, EDITION, changes_of, label_of, provenance_of

from angzarr import wire
from angzarr.cover import Cover
from angzarr.ports.clock import SystemClock
from angzarr.ports.event_store import Dropped, EventStore, Limits
from angzarr.ports.stores import Stores
from angzarr.stores import rocksdb

CHILD: Final = Path(__file__).with_name("child.py")
DEATH_S_MAX: Final = 20.0
"""How long a child may take to reach the failpoint that kills it; far more than it needs."""
ROUNDS: Final = int(os.environ.get("ANGZARR_CRASH_ROUNDS", "80"))


@dataclass(frozen=True, slots=True)
class Batch:
    """An acknowledged append."""

    cover: Cover
    first: int
    page_count: int
    label: str


@dataclass(slots=True)
class Acknowledged:
    """All that children were told to be durable."""

    batches: list[Batch] = field(default_factory=list[Batch])
    decisions: dict[str, str] = field(default_factory=dict[str, str])
    resolved: set[str] = field(default_factory=set[str])
    cursors: dict[str, int] = field(default_factory=dict[str, int])
    letters: dict[str, str] = field(default_factory=dict[str, str])
    backups: list[str] = field(default_factory=list[str])

    def add(self, line: str) -> None:
        """Take one line of a child."""
        match line.split(" "):
            case ["append", edition, root, first, page_count, label]:
                cover = Cover(DOMAIN, bytes.fromhex(root), edition)
                self.batches.append(Batch(cover, int(first), int(page_count), label))
            case ["decide", cascade_id, outcome]:
                self.decisions[cascade_id] = outcome
            case ["resolve", cascade_id]:
                self.resolved.add(cascade_id)
            case ["cursor", consumer, position]:
                self.cursors[consumer] = int(position)
            case ["letter", letter_id, label]:
                self.letters[letter_id] = label
            case ["backup", path]:
                self.backups.append(path)
            case ["open"]:
                pass
            case _:
                raise AssertionError(f"a child said {line!r}")


class Child:
    """A process that is ready to work: imported, and waiting for its job."""

    def __init__(self, arguments: Iterable[str] = (sys.executable, str(CHILD))) -> None:
        self.process = subprocess.Popen(
            list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def start(
        self,
        path: Path,
        round_number: int,
        *,
        client_count: int = 8,
        is_sync: bool = True,
        failpoints: str = "",
        backup: str = "",
        url: str = "",
    ) -> None:
        """Give it its job. url: of the store, where another process has it open."""
        job = {
            "path": str(path),
            "round": round_number,
            "client_count": client_count,
            "is_sync": is_sync,
            "failpoints": failpoints,
            "backup": backup,
            "url": url,
        }
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()

    def read_lines(self, until: Callable[[int], bool]) -> list[str]:
        """Its lines, until `until` says so of their count or it died; none is cut."""
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + DEATH_S_MAX
        data = b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not until(data.count(b"\n")):
                assert selector.select(deadline - time.monotonic()), "the child hangs"
                chunk = os.read(descriptor, 65_536)
                if not chunk:
                    break
                data += chunk
        return data.decode().splitlines()

    def kill(self) -> list[str]:
        """Kill -9; the lines that were still on their way."""
        self.process.send_signal(signal.SIGKILL)
        return self.drain()

    def drain(self) -> list[str]:
        """Wait for its death; the lines it still said."""
        lines = self.read_lines(lambda _: False)
        self.process.wait()
        self.process.stdin and self.process.stdin.close()
        self.process.stdout and self.process.stdout.close()
        return lines


def run_and_kill(child: Child, chance: random.Random, acknowledged: Acknowledged) -> None:
    """Let a started child work for a random while, then kill it with no warning."""
    wanted = chance.choice((1, 2, chance.randrange(100), chance.randrange(1_000)))
    lines = child.read_lines(lambda line_count: line_count >= wanted)
    time.sleep(chance.random() * 0.003)  # anywhere in a group
    for line in lines + child.kill():
        acknowledged.add(line)


def run_to_failpoint(child: Child, acknowledged: Acknowledged) -> None:
    """Let a started child work until its failpoint kills it."""
    for line in child.drain():
        acknowledged.add(line)
    assert child.process.returncode == -signal.SIGABRT, child.process.returncode


async def check(path: Path, acknowledged: Acknowledged) -> None:
    """Every acknowledged write is there, none is there in part, and the log equals the streams."""
    stores = rocksdb.open_stores(str(path), sync=True, limits=Limits(), clock=SystemClock())
    try:
        verified = await stores.verify()
        streams = await streams_of(stores.events)
        _check_whole(streams)
        _check_batches(streams, acknowledged.batches)
        await _check_parts(stores, streams, acknowledged)
        await check_log(stores.events, streams)
        assert await stores.events.log_head() == verified.position
    finally:
        await stores.close()


Streams = dict[Cover, list[wire.EventPage]]


async def streams_of(events: EventStore, domain: str = DOMAIN) -> Streams:
    """All composite streams of `domain`, parsed; sequences without gap."""
    streams: Streams = {}
    for edition in await events.editions(domain):
        for root in await events.roots(domain, edition):
            cover = Cover(domain, root, edition)
            loaded = await events.load(cover)
            pages = list(wire.EventBook.FromString(loaded.data).pages)
            assert [page.header.sequence for page in pages] == list(range(len(pages))), cover
            assert loaded.next_sequence == len(pages), cover
            latest = wire.EventBook.FromString((await events.load_latest(cover)).data)
            start = latest.snapshot.sequence + 1 if latest.HasField("snapshot") else 0
            assert list(latest.pages) == pages[start:], cover
            streams[cover] = pages
    return streams


def _check_whole(streams: Streams) -> None:
    for cover, pages in streams.items():
        events = [page for page in pages if not _is_marker(page)]
        expected = 0
        for page in events:
            label, index, count = label_of(page)
            assert index == expected, f"{label} is there in part on {cover}"
            expected = (index + 1) % count
        assert expected == 0, f"the last batch on {cover} is there in part"


def _check_batches(streams: Streams, batches: list[Batch]) -> None:
    for batch in batches:
        pages = streams.get(batch.cover, [])[batch.first : batch.first + batch.page_count]
        found = [label_of(page) for page in pages]
        wanted = [(batch.label, i, batch.page_count) for i in range(batch.page_count)]
        assert found == wanted, f"{batch} was acknowledged, found {found}"


async def _check_parts(stores: Stores, streams: Streams, acknowledged: Acknowledged) -> None:
    """What was written beside pages is there if, and only if, the pages are."""
    written_on = {
        label_of(page)[0]: cover
        for cover in sorted(streams, key=lambda cover: cover.is_main)  # what branches inherit too
        for page in streams[cover]
        if not _is_marker(page)
    }
    steps = {label: int(label.rsplit("n")[-1]) for label in written_on if not label.endswith("x")}
    kept = await stores.obligations.due(2**62, limit=10**6, lease_s=0)
    duties = {duty.id for duty in kept if duty.kind == "duty"}
    assert duties == {label for label, step in steps.items() if step % 4 == 1}
    assert {duty.id: duty.payload for duty in kept if duty.kind == "timer"} == _timers(steps)
    for label, step in steps.items():
        if step % 3 == 0:
            found = await stores.events.find_by_provenance(written_on[label], provenance_of(label))
            assert found is not None, label
            assert len(found.pages) == 1 + step % 4
    for cascade_id, outcome in acknowledged.decisions.items():
        decision = await stores.events.decision(cascade_id)
        assert decision is not None, cascade_id
        assert decision.outcome == outcome
    for cascade_id in acknowledged.resolved:
        assert await stores.events.query_cascade_participants(cascade_id) == []
    for consumer, position in acknowledged.cursors.items():
        assert (await stores.positions.cursor(consumer) or 0) >= position
    for letter_id, label in acknowledged.letters.items():
        letter = await stores.dead_letters.get(letter_id)
        assert letter is not None, letter_id
        assert letter.letter == label.encode()


def _timers(steps: dict[str, int]) -> dict[str, bytes]:
    """Each client's timer as the last of its batches that touched it has left it."""
    timers: dict[str, bytes] = {}
    in_order = sorted(((*map(int, re.findall(r"\d+", label)),), label) for label in steps)
    for (_, client, step), label in in_order:
        for change in changes_of(label, step, f"timer-{client}"):
            if isinstance(change, Dropped):
                timers.pop(change.id, None)
            elif change.is_replacing:
                timers[change.id] = change.payload
    return timers


async def check_log(events: EventStore, streams: Streams) -> None:
    """Positions have no gap; each stream's own pages are logged once, in order, up to the held."""
    position, logged = 0, dict[Cover, list[int]]()
    while entries := await events.tail(position, limit=10_000):
        for entry in entries:
            book = wire.EventBook.FromString(entry.book)
            assert entry.first_position == position + 1
            assert len(book.pages) == entry.position - position
            position = entry.position
            cover = Cover(book.cover.domain, book.cover.root.value, book.cover.edition.name)
            logged.setdefault(cover, []).extend(page.header.sequence for page in book.pages)
    assert position == await events.log_head()
    for cover, pages in streams.items():
        start = (await events.divergence(cover) or 0) if cover.edition == EDITION else 0
        unresolved = await events.pending(cover)
        stop = unresolved[0].sequence if unresolved else len(pages)
        assert logged.get(cover, []) == list(range(start, stop)), cover


def _is_marker(page: wire.EventPage) -> bool:
    return page.event.type_url.startswith("type.angzarr.io/")
