"""`angzarr dlq`: dead letters of a running server, listed, read, replayed, edited, deleted."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final, TypeVar, cast

import typer
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import codec, wire
from angzarr.cli import letters, options
from angzarr.cli.editor import edited
from angzarr.cli.outcome import EXIT_CODES, REFUSED, UNREACHABLE, USAGE, exit_code, fail, told
from angzarr.cli.payloads import Json, Payloads, compact, read_json
from angzarr.errors import AngzarrError, InvalidInput

if TYPE_CHECKING:
    from angzarr.rpc.client_transport import SyncGrpcTransport

M = TypeVar("M", bound=Message)

SERVICE: Final = "/angzarr.DlqAdminService/"
PAGE_SIZE: Final = 500
DEFAULT_LIMIT: Final = 50

Id = Annotated[str, typer.Argument(metavar="ID", help="As `angzarr dlq list` shows it.")]
Ids = Annotated[
    list[str], typer.Argument(metavar="ID...", help="As `angzarr dlq list` shows them.")
]
AsIs = Annotated[
    bool,
    typer.Option(
        "--as-is", help="Keep the command's stamp, in place of the stream's next sequence."
    ),
]
Delete = Annotated[bool, typer.Option("--delete", help="Delete the letter when it went through.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per letter.")]

command = typer.Typer(
    help="List, read, replay, edit and delete the dead letters of a running server.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@command.command("list", epilog=EXIT_CODES)
def list_letters(
    address: options.Address = options.DEFAULT_ADDRESS,
    domain: Annotated[str, typer.Option(help="Of the stream.")] = "",
    correlation_id: Annotated[str, typer.Option(help="Of the command or the events.")] = "",
    rejection_type: Annotated[
        str,
        typer.Option(
            "--type",
            help="sequence_mismatch, event_processing_failed or payload_retrieval_failed.",
        ),
    ] = "",
    component: Annotated[str, typer.Option(help="That gave up, such as saga:shipping.")] = "",
    after: Annotated[
        str, typer.Option(help="What happened after this time, as 2026-01-31T12:00:00Z.")
    ] = "",
    before: Annotated[str, typer.Option(help="What happened before this time.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1)] = DEFAULT_LIMIT,
    only_ids: Annotated[bool, typer.Option("--ids", help="Print the ids alone.")] = False,
    as_json: AsJson = False,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """List dead letters, newest first.

    Example: angzarr dlq list --component saga:shipping --after 2026-01-31T12:00:00Z
    """
    terms = {
        "domain": domain,
        "correlation_id": correlation_id,
        "rejection_type": rejection_type,
        "source_component": component,
        "occurred_after": _time(after, "--after"),
        "occurred_before": _time(before, "--before"),
    }
    with told(address), _served(address, timeout_s) as server:
        found = server.listed(_filter(terms), limit + 1)
        entries = list(islice(found, limit))
        for entry in entries if only_ids or as_json else ():
            sys.stdout.write((entry.id if only_ids else compact(letters.row(entry))) + "\n")
        if entries and not (only_ids or as_json):
            letters.console().print(letters.table(entries))
        if not entries:
            sys.stderr.write("no dead letters\n")
        elif len(entries) == limit and next(found, None) is not None:
            sys.stderr.write(f"only the newest {limit} are shown; --limit shows more\n")


@command.command(epilog=EXIT_CODES)
def show(
    letter_id: Id,
    address: options.Address = options.DEFAULT_ADDRESS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Show one dead letter: why it died, and what it holds."""
    with told(address), _served(address, timeout_s) as server:
        payloads = Payloads(descriptors)
        entry = server.get(letter_id)
        if as_json:
            sys.stdout.write(compact(letters.whole(entry, payloads)) + "\n")
        else:
            letters.console().print(letters.sheet(entry, payloads))


@command.command(epilog=EXIT_CODES)
def replay(
    letter_ids: Ids,
    address: options.Address = options.DEFAULT_ADDRESS,
    as_is: AsIs = False,
    delete_after: Delete = False,
    as_json: AsJson = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Send dead commands again, and give dead events to their component once more.

    A letter stays until it is deleted. Each failure is one line; the exit code is that of the
    first.

    Example: angzarr dlq list --component saga:shipping --ids | xargs angzarr dlq replay --delete
    """
    with told(address), _served(address, timeout_s) as server:
        payloads = Payloads(descriptors)

        def again(letter_id: str) -> None:
            if letters.holds(server.get(letter_id)) == letters.EVENTS:
                component = server.redeliver(letter_id)
                _show_redelivered(letter_id, component, as_json)
            else:
                _show_replayed(letter_id, server.replay(letter_id, as_is), payloads, as_json)
            if delete_after:
                server.delete(letter_id)

        _each(letter_ids, again)


@command.command(epilog=EXIT_CODES)
def edit(
    letter_id: Id,
    payload: Annotated[
        str, typer.Option(help="The new payload as JSON, - reads stdin; opens $EDITOR without it.")
    ] = "",
    address: options.Address = options.DEFAULT_ADDRESS,
    as_is: AsIs = False,
    delete_after: Delete = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Change the payload of a dead command and send it again.

    The payload is checked against its type where that is known. A command of several pages is a
    JSON list of their payloads. The letter stays as it was, unless it is to be deleted.
    """
    with told(address), _served(address, timeout_s) as server:
        payloads = Payloads(descriptors)
        originals = _editable(server.get(letter_id), payloads)
        opened = [payloads.open(packed) for packed in originals]
        before: Json = opened[0] if len(opened) == 1 else opened

        def send(text: str) -> None:
            changed = _repacked(text, originals, payloads)
            answer = server.replay(letter_id, as_is, changed)
            _show_replayed(letter_id, answer, payloads, as_json)
            if delete_after:
                server.delete(letter_id)

        if payload:
            send(read_json(payload))
            return
        text = json.dumps(before, ensure_ascii=False, indent=2) + "\n"
        with edited(text, f"dead-letter-{letter_id}") as new_text:
            if new_text == text:
                sys.stderr.write("unchanged; nothing is sent\n")
            else:
                send(new_text)


@command.command(epilog=EXIT_CODES)
def delete(
    letter_ids: Ids,
    address: options.Address = options.DEFAULT_ADDRESS,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Delete dead letters. Deleting one that is gone already is fine."""
    with told(address), _served(address, timeout_s) as server:

        def remove(letter_id: str) -> None:
            existed = server.delete(letter_id)
            sys.stdout.write(f"{letter_id}: {'deleted' if existed else 'was not there'}\n")

        _each(letter_ids, remove)


class _Server:
    """DlqAdminService of a server."""

    def __init__(self, transport: SyncGrpcTransport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s

    def listed(self, text: str, count: int) -> Iterator[wire.DeadLetterEntry]:
        """Entries that a filter lets pass, newest first, fetched as they are taken: about `count`
        of them."""
        token = ""
        size = min(count, PAGE_SIZE)
        while True:
            request = wire.ListDeadLettersRequest(filter=text, page_size=size, page_token=token)
            answer = self._call("List", request, wire.ListDeadLettersResponse)
            yield from answer.entries
            token = answer.next_page_token
            if not token:
                return

    def get(self, letter_id: str) -> wire.DeadLetterEntry:
        return self._call("Get", wire.GetDeadLetterRequest(id=letter_id), wire.DeadLetterEntry)

    def replay(
        self, letter_id: str, as_is: bool, payloads: Sequence[Any] = ()
    ) -> wire.ReplayDeadLetterResponse:
        mode = wire.REPLAY_AS_IS if as_is else wire.REPLAY_FRESH_SEQUENCE
        request = wire.ReplayDeadLetterRequest(id=letter_id, mode=mode, payloads=payloads)
        return self._call("Replay", request, wire.ReplayDeadLetterResponse)

    def redeliver(self, letter_id: str) -> str:
        """The component that took the events."""
        request = wire.RedeliverDeadLetterRequest(id=letter_id)
        return self._call("Redeliver", request, wire.RedeliverDeadLetterResponse).component

    def delete(self, letter_id: str) -> bool:
        request = wire.DeleteDeadLetterRequest(id=letter_id)
        return self._call("Delete", request, wire.DeleteDeadLetterResponse).existed

    def _call(self, method: str, request: Message, answer: type[M]) -> M:
        data = self._transport.unary(
            SERVICE + method, request.SerializeToString(), timeout_s=self._timeout_s
        )
        return answer.FromString(data)


@contextlib.contextmanager
def _served(address: str, timeout_s: float) -> Generator[_Server]:
    from angzarr.rpc.client_transport import SyncGrpcTransport

    transport = SyncGrpcTransport(address)
    try:
        yield _Server(transport, timeout_s)
    finally:
        transport.close()


def _filter(terms: dict[str, str]) -> str:
    """The filter of DLQ-7 for what is asked."""
    for field, value in terms.items():
        if '"' in value:
            raise fail(f'{field}: {value} must have no "', USAGE)
    return " AND ".join(f'{field} = "{value}"' for field, value in terms.items() if value)


def _time(text: str, option: str) -> str:
    """RFC 3339 for what a person writes; a time without a zone is UTC, a day its midnight."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        example = "a time like 2026-01-31T12:00:00Z"
        raise typer.BadParameter(f"{text!r} is not {example}", param_hint=option) from None
    if moment.tzinfo is None:
        return moment.isoformat() + "Z"
    return text.replace(" ", "T")


def _each(letter_ids: Sequence[str], work: Callable[[str], None]) -> None:
    """Work on each id. A failure is told and the next one follows, unless the server is away."""
    codes: list[int] = []
    for letter_id in letter_ids:
        try:
            work(letter_id)
        except AngzarrError as error:
            code = exit_code(error)
            if len(letter_ids) == 1 or code == UNREACHABLE:
                raise
            codes.append(fail(f"{letter_id}: {error}", code).exit_code)
        sys.stdout.flush()
    if codes:
        raise typer.Exit(codes[0])


def _editable(entry: wire.DeadLetterEntry, payloads: Payloads) -> list[Any]:
    """The command's payloads, each of a type that can be shown as JSON and packed again."""
    if letters.holds(entry) != letters.COMMAND:
        raise fail(f"{entry.id} holds no command; only commands can be edited", REFUSED)
    pages = entry.letter.rejected_command.pages
    if not pages or any(page.HasField("external") for page in pages):
        raise fail(f"{entry.id} holds no payload; only its reference is there", REFUSED)
    for page in pages:
        if not payloads.can_open(page.command):
            name = codec.full_name(page.command.type_url)
            raise fail(f"{name} is not known here; name its descriptors with --descriptors", USAGE)
    return [page.command for page in pages]


def _repacked(text: str, originals: Sequence[Any], payloads: Payloads) -> list[Any]:
    try:
        value = cast("Json", json.loads(text))
    except json.JSONDecodeError as error:
        raise InvalidInput("payload", "JSON", text, f"not JSON: {error}") from None
    values = [value] if len(originals) == 1 else value
    if not isinstance(values, list) or len(values) != len(originals):
        raise InvalidInput("payload", f"a list of {len(originals)} JSON objects", text)
    return [payloads.repack(*pair) for pair in zip(originals, values, strict=True)]


def _show_replayed(
    letter_id: str, answer: wire.ReplayDeadLetterResponse, payloads: Payloads, as_json: bool
) -> None:
    correlation_id, pages = answer.new_correlation_id, answer.response.events.pages
    if as_json:
        events: list[Json] = [
            {
                "sequence": page.header.sequence,
                "type": codec.full_name(page.event.type_url),
                "payload": payloads.open(page.event),
            }
            for page in pages
        ]
        shown: Json = {"id": letter_id, "correlation_id": correlation_id, "events": events}
        sys.stdout.write(compact(shown) + "\n")
        return
    outcome = "accepted" if pages else "accepted; no events"
    sys.stdout.write(f"{letter_id}: {outcome}, correlation id {correlation_id}\n")
    for page in pages:
        sys.stdout.write(f"  {letters.event_line(page, payloads)}\n")


def _show_redelivered(letter_id: str, component: str, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(compact({"id": letter_id, "component": component}) + "\n")
    else:
        sys.stdout.write(f"{letter_id}: delivered to {component} once more\n")
