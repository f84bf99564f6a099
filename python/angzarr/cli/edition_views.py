"""Editions as people read them: tables, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from angzarr.cli.payloads import Json, Payloads, compact
from angzarr.cover import MAIN, Cover
from angzarr.editions import Branch, Difference, Edition, PromotedStream, Side

NEVER: Final = "never"
UNLIMITED: Final = "-"


def row(edition: Edition) -> dict[str, Json]:
    """An edition as one JSON object."""
    record = edition.record
    streams: dict[str, Json] = dict(edition.stream_counts)
    return {
        "edition": edition.name,
        "parent": edition.parent,
        "is_declared": record is not None,
        "created_at": record.created_at.isoformat() if record else None,
        "expires_at": record.expires_at.isoformat() if record and record.expires_at else None,
        "max_pages": record.max_pages if record else 0,
        "max_bytes": record.max_bytes if record else 0,
        "pages": edition.page_count,
        "bytes": edition.byte_count,
        "streams": streams,
    }


def branch_row(branch: Branch) -> dict[str, Json]:
    """A stream of an edition as one JSON object."""
    return {
        "edition": branch.cover.edition,
        "domain": branch.cover.domain,
        "root": branch.cover.root.hex(),
        "divergence": branch.divergence,
        "next_sequence": branch.next_sequence,
    }


def table(editions: Iterable[Edition]) -> Table:
    """What a list shows."""
    made = _table("edition", "branch of", "streams", "expires", right=("pages", "bytes"))
    for edition in editions:
        record = edition.record
        made.add_row(
            edition.name,
            edition.parent,
            _streams(edition),
            _time(record.expires_at) if record else NEVER,
            _of(edition.page_count, record.max_pages if record else 0),
            _of(edition.byte_count, record.max_bytes if record else 0),
        )
    return made


def sheet(edition: Edition) -> Table:
    """One edition, a fact a line."""
    record = edition.record
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    made.add_row("edition", edition.name)
    made.add_row("branch of", edition.parent)
    made.add_row("declared", _time(record.created_at) if record else "no")
    made.add_row("expires", _time(record.expires_at) if record else NEVER)
    made.add_row("pages", _of(edition.page_count, record.max_pages if record else 0))
    made.add_row("bytes", _of(edition.byte_count, record.max_bytes if record else 0))
    return made


def branches(found: Iterable[Branch]) -> Table:
    """Streams of an edition, and where each left its base."""
    made = _table("stream", right=("diverged at", "next"))
    for branch in found:
        cover = branch.cover.on(MAIN)
        made.add_row(str(cover), str(branch.divergence), str(branch.next_sequence))
    return made


def difference_row(found: Difference, payloads: Payloads) -> dict[str, Json]:
    """A difference as one JSON object."""
    return {
        "domain": found.domain,
        "root": found.root.hex(),
        "first_sequence": found.first_sequence,
        "fields": list(found.fields),
        "left": _side_row(found.left, payloads),
        "right": _side_row(found.right, payloads),
    }


def difference(found: Difference, payloads: Payloads) -> Table:
    """A difference: events side by side, sequence by sequence, and the states under them."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("seq", justify="right", no_wrap=True)
    for side in (found.left, found.right):
        made.add_column(_named(side.edition), overflow="fold", ratio=1)
    left, right = _events(found.left, payloads), _events(found.right, payloads)
    for index in range(max(len(left), len(right))):
        sequence = str(found.first_sequence + index)
        made.add_row(sequence, _at(left, index), _at(right, index))
    states = [_state(side, payloads) for side in (found.left, found.right)]
    made.add_row("", *(Text(text) for text in states))
    return made


def title(found: Difference) -> str:
    """What is said of a difference in one line."""
    fields = ", ".join(found.fields) or "none"
    stream = Cover(found.domain, found.root)
    return f"{stream} differs from {found.first_sequence} on; fields of the state: {fields}"


def promotion_row(stream: PromotedStream, payloads: Payloads) -> dict[str, Json]:
    """A stream's part of a promotion as one JSON object."""
    return {
        "domain": stream.domain,
        "root": stream.root.hex(),
        "judgement": stream.judgement,
        "divergence": stream.divergence,
        "main_next_sequence": stream.main_next_sequence,
        "theirs": list(stream.theirs),
        "mine": list(stream.mine),
        "overlap": list(stream.overlap),
        "sequences": list(stream.sequences),
        "recorded": [payloads.row(event) for event in stream.events],
    }


def promotion(streams: Iterable[PromotedStream]) -> Table:
    """The report of a promotion."""
    made = _table("stream", "events", "left main", "main changed", "chosen change", "judgement")
    for stream in streams:
        grown = stream.main_next_sequence - stream.divergence
        judgement = stream.judgement
        if stream.overlap:
            judgement += f": {', '.join(stream.overlap)}"
        made.add_row(
            str(Cover(stream.domain, stream.root)),
            ranges(stream.sequences),
            f"at {stream.divergence}, {grown} since",
            ", ".join(stream.theirs) or UNLIMITED,
            ", ".join(stream.mine) or UNLIMITED,
            judgement,
        )
    return made


def recorded(stream: PromotedStream) -> str:
    """Where a stream's events are on main."""
    theirs = ranges([event.sequence for event in stream.events])
    already = " already" if stream.judgement == "repeated" else ""
    name = Cover(stream.domain, stream.root)
    return f"{name}: {ranges(stream.sequences)} of the branch are {theirs} of main{already}"


def ranges(sequences: Sequence[int]) -> str:
    """Ascending sequences in few words: `3-5, 7`."""
    found: list[list[int]] = []
    for sequence in sequences:
        if found and sequence == found[-1][1] + 1:
            found[-1][1] = sequence
        else:
            found.append([sequence, sequence])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found) or UNLIMITED


def _side_row(side: Side, payloads: Payloads) -> dict[str, Json]:
    return {
        "edition": side.edition,
        "next_sequence": side.next_sequence,
        "events": [payloads.row(event) for event in side.events],
        "state": payloads.open(side.packed) if side.packed is not None else None,
    }


def _events(side: Side, payloads: Payloads) -> list[Text]:
    return [
        Text(f"{event.type_name} {compact(payloads.open(event.page.event))}")
        for event in side.events
    ]


def _at(events: Sequence[Text], index: int) -> Text:
    return events[index] if index < len(events) else Text("")


def _state(side: Side, payloads: Payloads) -> str:
    if side.packed is None:
        return "no state is known" if side.next_sequence else "no stream"
    return f"→ {compact(payloads.open(side.packed))}"


def _named(edition: str) -> str:
    return "main" if edition == MAIN else edition


def _streams(edition: Edition) -> str:
    counts = sorted(edition.stream_counts.items())
    return ", ".join(f"{domain}: {count}" for domain, count in counts) or UNLIMITED


def _of(count: int, limit: int) -> str:
    return f"{count} of {limit}" if limit else str(count)


def _time(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ") if moment else NEVER


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for column in right:
        made.add_column(column, justify="right", no_wrap=True)
    return made
