"""`angzarr dlq` against a running server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from click.testing import Result
from google.protobuf import descriptor_pb2, wrappers_pb2
from google.protobuf.any_pb2 import Any
from rich.console import Console

from angzarr import wire
from angzarr.app import App
from angzarr.cli import letters
from angzarr.cli.loading import load_app
from angzarr.cover import Cover, root_of
from angzarr.errors import AngzarrError, HandlerFailed
from angzarr.reacting import Reacting
from angzarr.serving import serve
from angzarr.sync_bridge import LoopThread

Run = Callable[..., Result]
STREAM = str(Cover("account", root_of("alice")))


@dataclass
class Consumers:
    """Takes dead events; `error` is what their component fails of."""

    taken: list[str] = field(default_factory=list)
    error: AngzarrError | None = None

    async def redeliver(self, component: str, book: bytes) -> None:
        self.taken.append(component)
        if self.error:
            raise self.error


class Bank:
    """The bank behind a port, and the command line that talks to it."""

    def __init__(
        self, app: App, thread: LoopThread, address: str, run: Run, consumers: Consumers
    ) -> None:
        self.app, self.thread, self.address, self.run = app, thread, address, run
        self.consumers = consumers

    def dlq(self, *arguments: object, text: str | None = None) -> Result:
        return self.run("dlq", *arguments, "--address", self.address, text=text)

    def put(self, **fields: object) -> str:
        letter = wire.AngzarrDeadLetter(**fields).SerializeToString()  # type: ignore[arg-type]
        return self.thread.run(self.app.stores.dead_letters.put(letter))

    def park(self, payload: str = '{"amount_cents": 5}', *more: str, root: str = "alice") -> str:
        """A parked command's id."""
        done = self.run(
            "send", "account", root, "Deposit", payload, "--address", self.address,
            "--expected-sequence", 7, "--merge", "manual", *more,
        )  # fmt: skip
        assert done.exit_code == 3, done.output
        return self.newest()

    def events(self) -> str:
        return self.put(
            rejected_events=wire.EventBook(cover=cover()),
            cover=cover(),
            source_component="saga:shipping",
            source_component_type="saga",
            rejection_reason="Event processing failed after 1 attempts: poison",
            event_processing_failed=wire.EventProcessingFailedDetails(error="poison"),
        )

    def newest(self) -> str:
        return self.thread.run(self.app.stores.dead_letters.list())[0].id

    def count(self) -> int:
        return len(self.thread.run(self.app.stores.dead_letters.list()))

    def payloads(self, root: str = "alice") -> list[str]:
        done = self.run("events", "account", root, "--json", "--address", self.address)
        return [json.loads(line)["payload"] for line in done.stdout.splitlines()]


def cover() -> wire.Cover:
    return wire.Cover(domain="account", root=wire.UUID(value=root_of("alice")))


@pytest.fixture
def bank(bank: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    app = load_app(str(bank))
    app.configure({"storage.type": "memory"})
    thread = LoopThread()
    thread.run(app.start())
    parts = app._running()
    consumers = Consumers()
    monkeypatch.setattr(
        Reacting, "redeliver", lambda _, component, book: consumers.redeliver(component, book)
    )
    server = thread.run(serve(parts, port=0))
    yield Bank(app, thread, server.addresses[0], run, consumers)
    thread.run(server.stop(0))
    thread.run(app.stop())
    thread.close()


# list


def test_a_list_is_a_table_that_a_person_can_read(bank: Bank) -> None:
    letter_id = bank.park()
    bank.dlq("replay", letter_id)

    done = bank.dlq("list")

    lines = [line.split("  ") for line in map(str.rstrip, done.stdout.splitlines())]
    found = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert found[:2] == [["id", "from, stream"], ["time (UTC)", "reason"]]
    assert found[2] == [letter_id, "aggregate:account", STREAM, "replayed 1×"]
    assert found[3][1:] == ["Sequence mismatch: command expects 7, aggregate at 0"]


def test_a_list_fits_a_narrow_terminal(bank: Bank) -> None:
    bank.park()
    [entry] = [
        wire.DeadLetterEntry(id=stored.id, letter=wire.AngzarrDeadLetter.FromString(stored.letter))
        for stored in bank.thread.run(bank.app.stores.dead_letters.list())
    ]
    console = Console(width=60, record=True, file=StringIO())

    console.print(letters.table([entry]))

    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join(lines).replace(" ", "").count(STREAM) == 1


def test_a_list_is_newest_first_and_one_json_object_a_line(bank: Bank) -> None:
    ids = [bank.park(), bank.events()]

    done = bank.dlq("list", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ids[::-1]
    assert rows[0] == {
        "id": ids[1],
        "occurred_at": rows[0]["occurred_at"],
        "type": "event_processing_failed",
        "reason": "Event processing failed after 1 attempts: poison",
        "component": "saga:shipping",
        "component_type": "saga",
        "domain": "account",
        "root": root_of("alice").hex(),
        "correlation_id": "",
        "holds": "events",
        "replay_count": 0,
    }


def test_a_list_may_be_of_ids_alone(bank: Bank) -> None:
    ids = [bank.park(), bank.park()]

    assert bank.dlq("list", "--ids").stdout.split() == ids[::-1]


def test_an_empty_list_says_so(bank: Bank) -> None:
    done = bank.dlq("list")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no dead letters\n")


def test_a_limit_bounds_the_list_and_what_is_left_is_told(bank: Bank) -> None:
    ids = [bank.park() for _ in range(3)]

    done = bank.dlq("list", "--ids", "--limit", 2)

    assert done.stdout.split() == ids[:0:-1]
    assert "only the newest 2 are shown" in done.stderr
    assert bank.dlq("list", "--ids", "--limit", 3).stderr == ""


def test_a_long_list_is_fetched_page_by_page(bank: Bank) -> None:
    ids = [bank.put() for _ in range(1_050)]

    assert bank.dlq("list", "--ids", "--limit", 2_000).stdout.split() == ids[::-1]


@pytest.mark.spec("DLQ-7")
@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--domain", "account"),
        ("--correlation-id", "c-1"),
        ("--type", "sequence_mismatch"),
        ("--component", "aggregate:account"),
        ("--after", "2001-01-01"),
        ("--after", "2001-01-01T00:00:00"),
        ("--after", "2001-01-01T00:00:00.5+02:00"),
    ],
)
def test_each_part_of_the_filter_is_a_flag(bank: Bank, flag: str, value: str) -> None:
    letter_id = bank.park('{"amount_cents": 5}', "--correlation-id", "c-1")
    bank.put(occurred_at={"seconds": 1})

    assert bank.dlq("list", "--ids", flag, value).stdout.split() == [letter_id]


@pytest.mark.spec("DLQ-7")
def test_flags_go_together(bank: Bank) -> None:
    early = bank.put(cover=cover(), occurred_at={"seconds": 1})
    bank.park()

    done = bank.dlq("list", "--ids", "--domain", "account", "--before", "2001-01-01")

    assert done.stdout.split() == [early]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--after", "yesterday"), "a time like 2026-01-31T12:00:00Z"),
        (("--type", "typo"), "unknown rejection_type 'typo'"),
        (("--domain", 'a"b'), 'must have no "'),
        (("--limit", 0), "greater than or equal to 1"),
    ],
)
def test_a_filter_that_is_wrong_is_exit_code_2(
    bank: Bank, arguments: tuple[object, ...], said: str
) -> None:
    done = bank.dlq("list", *arguments)

    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# show


def test_a_letter_is_shown_with_what_it_holds(bank: Bank) -> None:
    letter_id = bank.park('{"amount_cents": 5}', "--correlation-id", "c-1")

    done = bank.dlq("show", letter_id, "--json")

    shown = json.loads(done.stdout)
    assert (shown["id"], shown["correlation_id"], shown["holds"]) == (letter_id, "c-1", "command")
    assert shown["detail"] == {"expected_sequence": 7, "merge_strategy": "MERGE_MANUAL"}
    assert shown["pages"] == [
        {
            "sequence": 7,
            "merge": "MERGE_MANUAL",
            "type": "account.Deposit",
            "payload": {"amount_cents": 5},
        }
    ]


def test_a_letter_is_shown_to_people_line_by_line(bank: Bank) -> None:
    letter_id = bank.park()

    done = bank.dlq("show", letter_id)

    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    found = dict(pair for pair in lines if len(pair) == 2)
    assert found["stream"].rstrip() == STREAM
    assert found["id"].rstrip() == letter_id
    assert found["page"].startswith("0  ")
    assert '"amount_cents": 5' in found["page"]


def test_dead_events_are_shown_with_their_types(bank: Bank) -> None:
    page = wire.EventPage(header=wire.PageHeader(sequence=4))
    page.event.CopyFrom(
        Any(type_url="json.angzarr.io/account.Deposited", value=b'{"amount_cents":5}')
    )
    letter_id = bank.put(
        cover=wire.Cover(
            domain="account", root=wire.UUID(value=bytes(16)), edition=wire.Edition(name="whatif")
        ),
        rejected_events=wire.EventBook(pages=[page]),
        metadata={"attempts": "10"},
    )

    shown = json.loads(bank.dlq("show", letter_id, "--json").stdout)

    assert shown["edition"] == "whatif"
    assert shown["metadata"] == {"attempts": "10"}
    assert shown["pages"] == [
        {
            "sequence": 4,
            "created_at": "1970-01-01T00:00:00Z",
            "type": "account.Deposited",
            "payload": {"amount_cents": 5},
        }
    ]


def test_a_notification_is_shown_with_the_command_in_it(bank: Bank) -> None:
    """Users' payloads inside of angzarr's own messages are opened, too."""
    rejected = wire.RejectionNotification(rejection_reason="no funds")
    rejected.rejected_command.cover.CopyFrom(cover())
    inner = rejected.rejected_command.pages.add()
    inner.command.CopyFrom(Any(type_url="json.angzarr.io/account.Deposit", value=b'{"a":1}'))
    notification = wire.Notification(metadata={"attempt": "3"}, sent_at={"seconds": 1})
    notification.payload.Pack(rejected)
    command = wire.CommandBook(cover=cover())
    command.pages.add().command.Pack(notification)
    letter_id = bank.put(rejected_command=command)

    [page] = json.loads(bank.dlq("show", letter_id, "--json").stdout)["pages"]

    assert page["payload"] == {
        "payload": {
            "type": "angzarr.RejectionNotification",
            "payload": {
                "rejected_command": {
                    "cover": {"root": root_of("alice").hex(), "domain": "account"},
                    "pages": [{"command": {"type": "account.Deposit", "payload": {"a": 1}}}],
                },
                "rejection_reason": "no funds",
            },
        },
        "sent_at": "1970-01-01T00:00:01Z",
        "metadata": {"attempt": "3"},
    }


def test_a_payload_that_lies_elsewhere_is_shown_by_its_place(bank: Bank) -> None:
    command = wire.CommandBook(pages=[wire.CommandPage(external={"uri": "file:///gone"})])
    detail = wire.PayloadRetrievalFailedDetails(content_hash=b"h", uri="file:///gone")
    letter_id = bank.put(rejected_command=command, payload_retrieval_failed=detail)

    shown = json.loads(bank.dlq("show", letter_id, "--json").stdout)

    assert shown["pages"] == [{"merge": "MERGE_COMMUTATIVE", "external": "file:///gone"}]
    assert shown["detail"] == {"uri": "file:///gone", "content_hash": "aA=="}


@pytest.mark.parametrize("verb", ["show", "replay", "edit"])
def test_an_unknown_id_is_exit_code_2(bank: Bank, verb: str) -> None:
    done = bank.dlq(verb, "nobody")

    assert (done.exit_code, done.stderr) == (2, "angzarr: Unknown dead letter nobody\n")


# replay


@pytest.mark.spec("DLQ-8")
def test_a_replayed_command_shows_what_it_led_to(bank: Bank) -> None:
    letter_id = bank.park()

    done = bank.dlq("replay", letter_id)

    first, second = done.stdout.splitlines()
    assert first.startswith(f"{letter_id}: accepted, correlation id ")
    assert second == '  0  account.Deposited  {"amount_cents": 5}'
    assert bank.payloads() == [{"amount_cents": 5}]
    assert bank.count() == 1


@pytest.mark.spec("DLQ-8")
def test_a_replay_in_json_is_one_object_a_letter(bank: Bank) -> None:
    letter_id = bank.park()

    shown = json.loads(bank.dlq("replay", letter_id, "--json").stdout)

    assert shown == {
        "id": letter_id,
        "correlation_id": shown["correlation_id"],
        "events": [{"sequence": 0, "type": "account.Deposited", "payload": {"amount_cents": 5}}],
    }


@pytest.mark.spec("DLQ-8")
def test_a_replay_as_is_keeps_the_stamp_and_is_parked_again(bank: Bank) -> None:
    done = bank.dlq("replay", bank.park(), "--as-is")

    assert done.exit_code == 3
    assert "command expects 7, aggregate at 0" in done.stderr
    assert bank.count() == 2


@pytest.mark.spec("DLQ-8", "DLQ-10")
def test_dead_events_are_replayed_by_delivering_them_once_more(bank: Bank) -> None:
    letter_id = bank.events()

    done = bank.dlq("replay", letter_id)

    assert done.stdout == f"{letter_id}: delivered to saga:shipping once more\n"
    assert bank.consumers.taken == ["saga:shipping"]
    assert json.loads(bank.dlq("replay", letter_id, "--json").stdout) == {
        "id": letter_id,
        "component": "saga:shipping",
    }


def test_a_letter_is_deleted_after_its_replay_only_if_that_is_asked_and_went_well(
    bank: Bank,
) -> None:
    good, bad = bank.park(), bank.park('{"amount_cents": 0}')

    done = bank.dlq("replay", good, bad, "--delete")

    assert done.exit_code == 3
    assert bank.dlq("list", "--ids").stdout.split() == [bad]


def test_of_several_letters_each_failure_is_a_line_and_the_others_go_on(bank: Bank) -> None:
    bank.consumers.error = HandlerFailed("saga:shipping", "poison")
    ids = [bank.events(), bank.park('{"amount_cents": 0}'), "nobody", bank.park()]

    done = bank.dlq("replay", *ids)

    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"angzarr: {ids[0]}: saga:shipping failed: poison",
        f"angzarr: {ids[1]}: deposit a positive amount",
        "angzarr: nobody: Unknown dead letter nobody",
    ]
    assert done.stdout.startswith(f"{ids[3]}: accepted")


def test_a_replay_without_events_says_so(bank: Bank) -> None:
    """A notification that the source answers without events."""
    command = wire.CommandBook(cover=cover())
    command.pages.add().command.Pack(wire.Notification())
    letter_id = bank.put(rejected_command=command)

    done = bank.dlq("replay", letter_id)

    assert done.stdout.startswith(f"{letter_id}: accepted; no events, correlation id ")


# edit


@pytest.mark.spec("DLQ-9")
def test_an_edited_command_is_sent_and_the_letter_stays_as_it_was(bank: Bank) -> None:
    letter_id = bank.park()
    before = bank.dlq("show", letter_id, "--json").stdout

    done = bank.dlq("edit", letter_id, "--payload", '{"amount_cents": 9}')

    assert done.stdout.splitlines()[1] == '  0  account.Deposited  {"amount_cents": 9}'
    assert bank.payloads() == [{"amount_cents": 9}]
    after = json.loads(bank.dlq("show", letter_id, "--json").stdout)
    assert after == json.loads(before) | {"replay_count": 1}


def test_the_new_payload_may_come_from_stdin(bank: Bank) -> None:
    bank.dlq("edit", bank.park(), "--payload", "-", text='{"amount_cents": 9}')

    assert bank.payloads() == [{"amount_cents": 9}]


def test_an_edited_letter_is_deleted_if_that_is_asked(bank: Bank) -> None:
    letter_id = bank.park()

    bank.dlq("edit", letter_id, "--payload", '{"amount_cents": 9}', "--delete")

    assert bank.count() == 0


def test_an_edit_in_json_is_one_object(bank: Bank) -> None:
    letter_id = bank.park()

    done = bank.dlq("edit", letter_id, "--payload", '{"amount_cents": 9}', "--json")

    assert json.loads(done.stdout)["events"][0]["payload"] == {"amount_cents": 9}


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Make $EDITOR a script with `$1`, the file, and no $VISUAL."""
    script = tmp_path / "my editor"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{script}'")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def left(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("dead-letter-*"))


@pytest.mark.spec("DLQ-9")
def test_without_a_payload_the_persons_editor_opens(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, f'cp "$1" {tmp_path}/seen; sed -i "s/5/9/" "$1"')

    done = bank.dlq("edit", bank.park())

    assert done.exit_code == 0, done.output
    assert (tmp_path / "seen").read_text() == '{\n  "amount_cents": 5\n}\n'
    assert bank.payloads() == [{"amount_cents": 9}]
    assert left(tmp_path) == []


def test_a_text_that_was_not_changed_sends_nothing(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, "true")

    done = bank.dlq("edit", bank.park())

    assert (done.exit_code, done.stderr) == (0, "unchanged; nothing is sent\n")
    assert bank.payloads() == []
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        ("nonsense", "not JSON", 2),
        ('{"amount_cents": "x"}', "Expected `int`, got `str`", 2),
        ('{"amount_cents": 0}', "deposit a positive amount", 3),
    ],
)
def test_a_text_that_is_refused_is_kept_and_its_place_is_told(
    bank: Bank,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    said: str,
    code: int,
) -> None:
    (tmp_path / "text").write_text(text)
    editor(tmp_path, monkeypatch, f'cp {tmp_path}/text "$1"')

    done = bank.dlq("edit", bank.park())

    [kept] = left(tmp_path)
    assert done.exit_code == code
    assert said in done.stderr
    assert f"your text is in {kept}" in done.stderr
    assert kept.read_text() == text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 3", "ended with 3; nothing is sent"),
        ('rm "$1"', "what the editor left can't be read"),
        ("printf '\\377' > \"$1\"", "what the editor left can't be read"),
    ],
)
def test_an_editor_that_fails_sends_nothing(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    editor(tmp_path, monkeypatch, body)

    done = bank.dlq("edit", bank.park())

    assert done.exit_code == 1
    assert said in done.stderr
    assert bank.payloads() == []


def test_an_editor_that_is_not_there_is_told(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    done = bank.dlq("edit", bank.park())

    assert done.exit_code == 1
    assert "set $EDITOR" in done.stderr
    assert left(tmp_path) == []


def test_a_command_of_several_pages_is_edited_as_a_list(bank: Bank) -> None:
    command = wire.CommandBook(cover=cover())
    for amount in (1, 2):
        payload = Any(
            type_url="json.angzarr.io/account.Deposit", value=b'{"amount_cents":%d}' % amount
        )
        command.pages.add().command.CopyFrom(payload)
    letter_id = bank.put(rejected_command=command)

    done = bank.dlq("edit", letter_id, "--payload", '[{"amount_cents": 3}, {"amount_cents": 4}]')

    assert done.exit_code == 0, done.output
    assert bank.payloads() == [{"amount_cents": 3}, {"amount_cents": 4}]
    short = bank.dlq("edit", letter_id, "--payload", '[{"amount_cents": 3}]')
    assert (short.exit_code, "a list of 2 JSON objects" in short.stderr) == (2, True)


@pytest.mark.parametrize("text", ["[1]", "7", '"x"', "null"])
def test_a_payload_that_is_no_object_is_refused(bank: Bank, text: str) -> None:
    done = bank.dlq("edit", bank.park(), "--payload", text)

    assert (done.exit_code, "a JSON object" in done.stderr) == (2, True)


def protobuf_letter(bank: Bank) -> str:
    command = wire.CommandBook(cover=cover())
    payload = wrappers_pb2.StringValue(value="hi")
    command.pages.add().command.Pack(payload)
    return bank.put(rejected_command=command)


def test_a_protobuf_payload_needs_its_descriptors(bank: Bank) -> None:
    done = bank.dlq("edit", protobuf_letter(bank), "--payload", "{}")

    assert done.exit_code == 2
    assert "google.protobuf.StringValue is not known here" in done.stderr
    assert "--descriptors" in done.stderr


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    """A set with `shop.Buy{count: int32}`."""
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    message = file.message_type.add(name="Buy")
    message.field.add(name="count", number=1, type=5, label=1)
    path = tmp_path / "shop.binpb"
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    return path


@pytest.mark.spec("DLQ-9")
def test_a_protobuf_payload_is_checked_against_its_descriptors(
    bank: Bank, descriptors: Path
) -> None:
    command = wire.CommandBook(cover=cover())
    payload = Any(type_url="x.example/shop.Buy", value=b"\x08\x01")
    command.pages.add().command.CopyFrom(payload)
    letter_id = bank.put(rejected_command=command)

    wrong = bank.dlq("edit", letter_id, "--payload", '{"count": "x"}', "--descriptors", descriptors)
    right = bank.dlq("edit", letter_id, "--payload", '{"count": 2}', "--descriptors", descriptors)

    assert (wrong.exit_code, "shop.Buy: " in wrong.stderr) == (2, True)
    assert "shop.Buy" in right.stderr  # the aggregate has no such command, which it says
    shown = json.loads(bank.dlq("show", letter_id, "--json", "--descriptors", descriptors).stdout)
    assert (shown["replay_count"], shown["pages"][0]["payload"]) == (1, {"count": 1})


def test_events_and_references_are_not_edited(bank: Bank) -> None:
    command = wire.CommandBook(pages=[wire.CommandPage(external={"uri": "file:///gone"})])
    reference = bank.put(rejected_command=command)

    for letter_id, said in (
        (bank.events(), "only commands can be edited"),
        (bank.put(), "only commands can be edited"),
        (reference, "only its reference is there"),
    ):
        done = bank.dlq("edit", letter_id, "--payload", "{}")
        assert (done.exit_code, said in done.stderr) == (3, True)


# delete


@pytest.mark.spec("DLQ-7")
def test_deleting_is_idempotent(bank: Bank) -> None:
    one, other = bank.park(), bank.park()

    first = bank.dlq("delete", one)
    again = bank.dlq("delete", one, other)

    assert (first.exit_code, first.stdout) == (0, f"{one}: deleted\n")
    assert (again.exit_code, again.stdout) == (0, f"{one}: was not there\n{other}: deleted\n")
    assert bank.count() == 0


# the server


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", "1"), ("replay", "1", "2"), ("edit", "1"), ("delete", "1", "2")],
)
def test_a_server_that_is_away_is_exit_code_4_and_one_line(
    run: Run, arguments: tuple[str, ...]
) -> None:
    done = run("dlq", *arguments, "--address", "127.0.0.1:1")

    assert done.exit_code == 4
    assert done.stderr.count("\n") == 1
    assert "no server answers at 127.0.0.1:1" in done.stderr


def test_the_command_without_a_verb_says_which_there_are(run: Run) -> None:
    done = run("dlq", "--help")

    assert done.exit_code == 0
    for verb in ("list", "show", "replay", "edit", "delete"):
        assert verb in done.stdout
