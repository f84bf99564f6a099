"""What reacts, written with the published client; `peer_handler.py` runs it for these styles:

`table`: a command handler that takes chips, at most 100 at once. `compensating`: the player with a
rejection handler. `saga`: a function that asks for two equal additions of chips at one table per
deposit; `saga-class`: the client's rich model, one addition each at the table with the player's
root. `pm` and `pm-class`: a process manager in both styles, which begins its workflow at a deposit.
`projector`: counts pages. What each was given becomes a line of JSON in the file CALLS.
"""

import json
import os
import pathlib
import uuid

import structlog
from angzarr_client import (
    CommandRouter,
    Destinations,
    ProcessManager,
    ProcessManagerHandler,
    ProjectorHandler,
    Saga,
    SagaHandler,
    StateRouter,
    applies,
    domain_class,
    event_handles,
    output_domain,
    prepares,
    rejected,
    run_command_handler_server,
    run_process_manager_server,
    run_projector_server,
    run_saga_server,
)
from angzarr_client.errors import CommandRejectedError
from angzarr_client.proto.angzarr import process_manager_pb2, saga_pb2, types_pb2
from angzarr_client.proto.examples import buy_in_pb2, player_pb2, table_pb2
from google.protobuf import any_pb2

TABLE = uuid.UUID("70000000-0000-4000-8000-000000000001").bytes
STACK_MAX = 100


def note(**facts) -> None:
    with pathlib.Path(os.environ["CALLS"]).open("a") as calls:
        print(json.dumps(facts), file=calls)


def plain(book: types_pb2.EventBook) -> dict:
    """A book's address and sequences."""
    return {
        "domain": book.cover.domain,
        "root": book.cover.root.value.hex(),
        "edition": book.cover.edition.name,
        "correlation_id": book.cover.correlation_id,
        "pages": [page.header.sequence for page in book.pages],
    }


def deposits(book: types_pb2.EventBook) -> list[player_pb2.FundsDeposited]:
    found = []
    for page in book.pages:
        event = player_pb2.FundsDeposited()
        if page.event.Unpack(event):
            found.append(event)
    return found


def packed(message) -> any_pb2.Any:
    wrapped = any_pb2.Any()
    wrapped.Pack(message)
    return wrapped


def chips(root: bytes, amount: int) -> types_pb2.CommandBook:
    """The command as a user of the client builds it: without edition and correlation id."""
    book = types_pb2.CommandBook()
    book.cover.domain, book.cover.root.value = "table", root
    page = book.pages.add(merge_strategy=types_pb2.MERGE_STRICT)
    page.command.CopyFrom(packed(table_pb2.AddChips(player_root=b"al", amount=amount)))
    return book


# The table


def add_chips(cmd: table_pb2.AddChips, state: table_pb2.ChipsAdded) -> table_pb2.ChipsAdded:
    note(amount=cmd.amount)
    if cmd.amount > STACK_MAX:
        raise CommandRejectedError("the table is full")
    return table_pb2.ChipsAdded(amount=cmd.amount, new_stack=state.new_stack + cmd.amount)


def added(state: table_pb2.ChipsAdded, event: table_pb2.ChipsAdded) -> None:
    state.CopyFrom(event)


def table() -> CommandRouter:
    state = StateRouter(table_pb2.ChipsAdded).on(table_pb2.ChipsAdded, added)
    router = CommandRouter("table").with_state(state)
    return router.on(table_pb2.AddChips, lambda cmd, state, seq: add_chips(cmd, state))


def compensating(player: type) -> type:
    """The player that takes back what the table refuses."""

    class Compensating(player):
        domain = "player"

        @rejected(domain="table", command="AddChips")
        def refused(self, notification: types_pb2.Notification) -> player_pb2.FundsWithdrawn:
            told = types_pb2.RejectionNotification()
            is_told = notification.payload.Unpack(told)
            note(
                type_url=notification.payload.type_url,
                reason=told.rejection_reason if is_told else "",
                command=told.rejected_command.pages[0].command.type_url if is_told else "",
            )
            return player_pb2.FundsWithdrawn()

    return Compensating


# Sagas


def saga(source: types_pb2.EventBook, sequences: dict[str, int]) -> saga_pb2.SagaResponse:
    note(source=plain(source), sequences=dict(sequences))
    destinations = Destinations(dict(sequences))
    response = saga_pb2.SagaResponse()
    for event in deposits(source):
        for _ in range(2):
            command = chips(TABLE, event.amount.amount)
            destinations.stamp_command(command, "table")
            response.commands.append(command)
    return response


@domain_class("player")
@output_domain("table")
class Chips(Saga):
    name = "saga-player-table"

    @event_handles(player_pb2.FundsDeposited)
    def deposited(
        self, event: player_pb2.FundsDeposited, destinations: Destinations
    ) -> table_pb2.AddChips:
        note(amount=event.amount.amount, table=destinations.sequence_for("table"))
        return table_pb2.AddChips(player_root=b"al", amount=event.amount.amount)


# Process managers


def manage(
    trigger: types_pb2.EventBook, state: types_pb2.EventBook, sequences: dict[str, int]
) -> process_manager_pb2.ProcessManagerHandleResponse:
    note(trigger=plain(trigger), state=plain(state), sequences=dict(sequences))
    destinations = Destinations(dict(sequences))
    response = process_manager_pb2.ProcessManagerHandleResponse()
    for event in deposits(trigger):
        page = response.process_events.pages.add()
        page.event.CopyFrom(packed(buy_in_pb2.BuyInInitiated(amount=event.amount)))
        command = chips(TABLE, event.amount.amount)
        destinations.stamp_command(command, "table")
        response.commands.append(command)
    return response


class BuyIn(ProcessManager[buy_in_pb2.BuyInOrchestratorState]):
    name = "buy-in"

    def _create_empty_state(self) -> buy_in_pb2.BuyInOrchestratorState:
        return buy_in_pb2.BuyInOrchestratorState()

    @applies(buy_in_pb2.BuyInInitiated)
    def initiated(
        self, state: buy_in_pb2.BuyInOrchestratorState, event: buy_in_pb2.BuyInInitiated
    ) -> None:
        state.amount += event.amount.amount

    @prepares(player_pb2.FundsDeposited)
    def prepare_deposited(self, event: player_pb2.FundsDeposited) -> list[types_pb2.Cover]:
        return [types_pb2.Cover(domain="table", root=types_pb2.UUID(value=TABLE))]

    @output_domain("table")
    @event_handles(player_pb2.FundsDeposited, input_domain="player")
    def deposited(
        self, event: player_pb2.FundsDeposited, destinations: Destinations
    ) -> types_pb2.CommandBook:
        before = self.state.amount
        self._apply_and_record(buy_in_pb2.BuyInInitiated(amount=event.amount))
        note(before=before, table=destinations.sequence_for("table"))
        command = chips(TABLE, event.amount.amount)
        destinations.stamp_command(command, "table")
        return command


# Projectors


def project(book: types_pb2.EventBook) -> types_pb2.Projection:
    note(**plain(book))
    count = table_pb2.ChipsAdded(new_stack=len(book.pages))
    return types_pb2.Projection(projection=packed(count))


def main(style: str, port: str, player: type) -> bool:
    """Serve the style; False for one that is not here. player: the client's rich one."""
    logger = structlog.get_logger()
    if style == "table":
        run_command_handler_server(table(), port, logger=logger)
    elif style == "compensating":
        run_command_handler_server(compensating(player), port, logger=logger)
    elif style == "saga":
        handler = SagaHandler(Chips).with_handle(saga)
        run_saga_server("saga-player-table", port, handler, logger=logger)
    elif style == "saga-class":
        run_saga_server("saga-player-table", port, SagaHandler(Chips), logger=logger)
    elif style == "pm":
        handler = ProcessManagerHandler("buy-in").with_handle(manage)
        run_process_manager_server(handler, port, logger=logger)
    elif style == "pm-class":
        run_process_manager_server(ProcessManagerHandler(BuyIn), port, logger=logger)
    elif style == "projector":
        handler = ProjectorHandler("stacks", "player").with_handle(project)
        run_projector_server("stacks", port, handler, logger=logger)
    else:
        return False
    return True
