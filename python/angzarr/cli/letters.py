"""Dead letters as people read them: rows of a table, and JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from angzarr import codec, wire
from angzarr.cli.events import PIPE_COLUMNS
from angzarr.cli.payloads import Json, Payloads, compact
from angzarr.cover import Cover

COMMAND: Final = "command"
EVENTS: Final = "events"

_MERGE: Final = {number: name for name, number in wire.MergeStrategy.items()}
_TIME_DIGITS: Final = 19
"""Of RFC 3339 up to its seconds."""


def holds(entry: wire.DeadLetterEntry) -> str:
    """COMMAND or EVENTS; "" for a letter whose payload is not there."""
    if entry.letter.HasField("rejected_command"):
        return COMMAND
    return EVENTS if entry.letter.HasField("rejected_events") else ""


def row(entry: wire.DeadLetterEntry) -> dict[str, Json]:
    """What a list shows of an entry, as one JSON object."""
    letter = entry.letter
    cover = letter.cover
    shown: dict[str, Json] = {
        "id": entry.id,
        "occurred_at": _occurred(entry),
        "type": entry.rejection_type,
        "reason": letter.rejection_reason,
        "component": letter.source_component,
        "component_type": letter.source_component_type,
        "domain": cover.domain,
        "root": cover.root.value.hex(),
        "correlation_id": cover.correlation_id,
        "holds": holds(entry),
        "replay_count": entry.replay_count,
    }
    if cover.edition.name not in ("", "angzarr"):
        shown["edition"] = cover.edition.name
    return shown


def whole(entry: wire.DeadLetterEntry, payloads: Payloads) -> dict[str, Json]:
    """All of an entry as one JSON object, its payloads opened."""
    letter = entry.letter
    shown = row(entry)
    shown["created_at"] = entry.created_at.ToJsonString()
    if entry.rejection_type:
        shown["detail"] = payloads.plain(getattr(letter, entry.rejection_type))
    if letter.metadata:
        shown["metadata"] = {**letter.metadata}
    pages = [*letter.rejected_command.pages, *letter.rejected_events.pages]
    shown["pages"] = [_page(page, payloads) for page in pages]
    return shown


def table(entries: Sequence[wire.DeadLetterEntry]) -> Table:
    """A list for a terminal of any width, two lines a letter; times are UTC."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("id\ntime (UTC)", no_wrap=True)
    made.add_column("from, stream\nreason", overflow="fold", ratio=1)
    for entry in entries:
        letter = entry.letter
        time = _occurred(entry)[:_TIME_DIGITS].replace("T", " ")
        parts = [letter.source_component, stream(letter.cover)]
        if entry.replay_count:
            parts.append(f"replayed {entry.replay_count}×")
        where = "  ".join(filter(None, parts))
        made.add_row(Text(f"{entry.id}\n{time}"), Text(f"{where}\n{letter.rejection_reason}"))
    return made


def sheet(entry: wire.DeadLetterEntry, payloads: Payloads) -> Table:
    """One entry for a terminal, a line a field and a line a page."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(no_wrap=True, style="bold")
    made.add_column(overflow="fold", ratio=1)
    shown = whole(entry, payloads)
    pages = shown.pop("pages")
    for field in ("domain", "root", "edition"):
        shown.pop(field, None)
    made.add_row("stream", Text(stream(entry.letter.cover)))
    for field, value in shown.items():
        if value not in ("", {}):
            text = value if isinstance(value, str) else compact(value)
            made.add_row(field.replace("_", " "), Text(text))
    for index, page in enumerate(pages if isinstance(pages, list) else ()):
        made.add_row(f"page {index}", Text(compact(page)))
    return made


def stream(cover: wire.Cover) -> str:
    """domain/root@edition; "unknown" without a cover."""
    if not cover.domain:
        return "unknown"
    return str(Cover(cover.domain, cover.root.value, cover.edition.name))


def event_line(page: wire.EventPage, payloads: Payloads) -> str:
    """An event as `angzarr send` shows it; `-` where it has no sequence yet."""
    sequence = str(page.header.sequence) if page.header.HasField("sequence") else "-"
    name = codec.full_name(page.event.type_url)
    return f"{sequence}  {name}  {compact(payloads.open(page.event))}"


def console() -> Console:
    """Standard output, wide where it is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS, color_system=None)


def _occurred(entry: wire.DeadLetterEntry) -> str:
    letter = entry.letter
    time = letter.occurred_at if letter.HasField("occurred_at") else entry.created_at
    return time.ToJsonString()


def _page(page: wire.CommandPage | wire.EventPage, payloads: Payloads) -> dict[str, Json]:
    shown = payloads.plain(page.header)
    if isinstance(page, wire.CommandPage):
        payload = page.command
        shown["merge"] = _MERGE.get(page.merge_strategy, str(page.merge_strategy))
    else:
        payload = page.event
        shown["created_at"] = page.created_at.ToJsonString()
    if page.HasField("external"):
        return shown | {"external": page.external.uri}
    return shown | {"type": codec.full_name(payload.type_url), "payload": payloads.open(payload)}
