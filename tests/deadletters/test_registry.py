"""Targets by their types, and the app that sends its dead letters to them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from angzarr import Aggregate, App, command, wire
from angzarr.config import DeadLetterTarget
from angzarr.deadletters import redirected
from angzarr.deadletters.channel import ChannelDeadLetters, channel_of
from angzarr.deadletters.log import LoggedDeadLetters
from angzarr.errors import Overloaded, SequenceMismatch, StoreUnavailable
from angzarr.ports.dead_letters import DASHED_TOPIC_PREFIX, topic_of
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import START_NS, ManualClock

LETTER = wire.AngzarrDeadLetter(
    cover=wire.Cover(domain="account", root=wire.UUID(value=bytes(16)), correlation_id="c-1"),
    rejected_command=wire.CommandBook(pages=[wire.CommandPage()]),
    rejection_reason="poison",
    source_component="saga:shipping",
    source_component_type="saga",
    event_processing_failed=wire.EventProcessingFailedDetails(error="poison"),
)
LETTER.rejected_command.pages[0].command.value = b"secret"


class Box(Aggregate, domain="box"):
    @command(merge="manual")
    def touch(self, cmd: wire.NoOp) -> None:
        pass


async def park(app: App) -> None:
    """Send a command that is parked."""
    with pytest.raises(SequenceMismatch):
        await app.domain(Box).send("a", wire.NoOp(), expected_sequence=7)


@pytest.mark.spec("DLQ-1")
@pytest.mark.parametrize(
    ("letter", "topic"),
    [
        (LETTER, "angzarr.dlq.account"),
        (wire.AngzarrDeadLetter(), "angzarr.dlq.unknown"),
        (wire.AngzarrDeadLetter(cover=wire.Cover()), "angzarr.dlq.unknown"),
    ],
)
def test_a_letters_topic_has_the_domain_of_its_cover(
    letter: wire.AngzarrDeadLetter, topic: str
) -> None:
    assert topic_of(letter) == topic


@pytest.mark.spec("DLQ-1")
def test_brokers_that_keep_dots_for_themselves_get_a_dash_in_the_prefix() -> None:
    assert topic_of(LETTER, DASHED_TOPIC_PREFIX) == "angzarr-dlq.account"


@pytest.mark.spec("DLQ-6")
@pytest.mark.parametrize("targets", [[], [DeadLetterTarget()]])
def test_the_stores_own_queue_is_the_default(targets: list[DeadLetterTarget]) -> None:
    stores = open_stores("memory://")

    assert redirected(stores, targets, ManualClock()) is stores


@pytest.mark.spec("DLQ-6")
async def test_an_app_without_targets_keeps_letters_in_its_store() -> None:
    async with App(Box, store="memory://") as app:
        await park(app)

        assert len(await app.stores.dead_letters.list()) == 1


@pytest.mark.spec("DLQ-6")
async def test_an_app_sends_letters_to_its_targets_and_keeps_events_in_its_store(
    tmp_path: Path,
) -> None:
    targets = [{"type": "filesystem", "path": str(tmp_path / "dead"), "max_files": 5}]
    async with App(Box, store="memory://", config={"dlq.targets": targets}) as app:
        await park(app)

        [letter] = await app.stores.dead_letters.list()
        assert (tmp_path / "dead" / f"{letter.id}.json").is_file()
        assert app.stores.facts().url == "memory://"


@pytest.mark.spec("DLQ-5", "CMD-18")
async def test_a_manual_command_whose_letter_no_target_takes_is_unavailable(tmp_path: Path) -> None:
    targets = [{"type": "filesystem", "path": str(tmp_path / "dead")}]
    async with App(Box, store="memory://", config={"dlq.targets": targets}) as app:
        shutil.rmtree(tmp_path / "dead")

        with pytest.raises(StoreUnavailable, match="of dead letters is unavailable: filesystem"):
            await app.domain(Box).send("a", wire.NoOp(), expected_sequence=7)


@pytest.mark.spec("DLQ-6")
async def test_a_directory_that_cant_be_used_stops_the_start_and_closes_the_store(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    targets = [{"type": "filesystem", "path": str(tmp_path / "file" / "dead")}]
    store = f"rocksdict://{tmp_path}/data"

    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await App(Box, store=store, config={"dlq.targets": targets}).start()

    async with App(Box, store=store):
        pass  # it is not locked


@pytest.mark.spec("DLQ-6")
async def test_a_channel_hands_letters_to_the_test() -> None:
    targets = [{"type": "channel"}, {"type": "store"}]
    async with App(Box, store="memory://", config={"dlq.targets": targets}) as app:
        await park(app)

        letter = await channel_of(app.stores.dead_letters).receive()
        assert letter.sequence_mismatch.expected_sequence == 7
        assert await app.stores.dead_letters.list() == []


async def test_without_a_channel_there_is_none_to_take_from() -> None:
    async with App(Box, store="memory://") as app:
        with pytest.raises(LookupError, match="names no channel"):
            channel_of(app.stores.dead_letters)


@pytest.mark.spec("DLQ-6")
async def test_a_full_channel_refuses_so_that_the_next_target_gets_the_letter() -> None:
    channel = ChannelDeadLetters(capacity=1)
    await channel.put(LETTER.SerializeToString())

    with pytest.raises(Overloaded, match="channel of dead letters"):
        await channel.put(LETTER.SerializeToString())


@pytest.mark.spec("DLQ-6", "OPS-7")
async def test_a_logged_letter_tells_what_died_but_not_its_payload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    letter_id = await LoggedDeadLetters(ManualClock()).put(LETTER.SerializeToString())

    [record] = caplog.records
    assert (record.name, record.levelno) == ("angzarr.dead_letters", logging.ERROR)
    assert record.getMessage() == (
        f"dead letter {START_NS:016x}: angzarr.dlq.account; "
        "account/00000000-0000-0000-0000-000000000000; correlation id c-1; "
        "from saga:shipping (saga); event_processing_failed; poison"
    )
    assert letter_id == f"{START_NS:016x}"


@pytest.mark.spec("DLQ-6")
async def test_bytes_that_are_no_letter_are_logged_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await LoggedDeadLetters(ManualClock()).put(b"\xff\xff")

    assert "2 bytes that do not parse" in caplog.text
