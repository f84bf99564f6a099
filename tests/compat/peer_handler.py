"""A component written with the published client, run in its environment: `peer_handler.py STYLE`.

Styles: `router` (functions) and `class` (its rich model); `echo`, a router whose answers repeat the
prior pages; `upcaster`, and `upcaster-short`, which loses a page; and those of peer_reactor.py. It
listens where its environment variables say. The domain is `player`, the messages are the client's
own examples. Each command that is decided on becomes a line of the file CALLS.
"""

import os
import pathlib
import sys

import peer_reactor
import structlog
from angzarr_client import (
    CommandHandler,
    CommandRouter,
    StateRouter,
    UpcasterHandler,
    applies,
    handles,
    run_command_handler_server,
    run_upcaster_server,
)
from angzarr_client.errors import CommandRejectedError
from angzarr_client.proto.angzarr import types_pb2
from angzarr_client.proto.examples import player_pb2, poker_types_pb2

PORT = "50052"


def currency(amount: int) -> poker_types_pb2.Currency:
    return poker_types_pb2.Currency(amount=amount, currency_code="CHIPS")


def new_state() -> player_pb2.PlayerState:
    return player_pb2.PlayerState()


def apply_registered(state: player_pb2.PlayerState, event: player_pb2.PlayerRegistered) -> None:
    state.player_id = event.email
    state.display_name = event.display_name


def apply_deposited(state: player_pb2.PlayerState, event: player_pb2.FundsDeposited) -> None:
    state.bankroll.CopyFrom(event.new_balance)


def apply_sat_out(state: player_pb2.PlayerState, event: player_pb2.PlayerSittingOut) -> None:
    state.status = "sitting out"


def note(cmd) -> None:
    with pathlib.Path(os.environ["CALLS"]).open("a") as calls:
        print(cmd.DESCRIPTOR.name, file=calls)


def register(
    cmd: player_pb2.RegisterPlayer, state: player_pb2.PlayerState
) -> player_pb2.PlayerRegistered:
    note(cmd)
    if state.player_id:
        raise CommandRejectedError("Player already exists")
    if not cmd.email:
        raise ValueError("email is required")
    if cmd.email == "crash":
        raise ZeroDivisionError("boom")
    return player_pb2.PlayerRegistered(display_name=cmd.display_name, email=cmd.email)


def deposit(
    cmd: player_pb2.DepositFunds, state: player_pb2.PlayerState
) -> player_pb2.FundsDeposited:
    note(cmd)
    if not state.player_id:
        raise CommandRejectedError("Player does not exist")
    balance = state.bankroll.amount + cmd.amount.amount
    return player_pb2.FundsDeposited(amount=cmd.amount, new_balance=currency(balance))


def sit_out(cmd: player_pb2.SitOut, state: player_pb2.PlayerState) -> player_pb2.PlayerSittingOut:
    note(cmd)
    return player_pb2.PlayerSittingOut()


class Player(CommandHandler[player_pb2.PlayerState]):
    domain = "player"

    def _create_empty_state(self) -> player_pb2.PlayerState:
        return new_state()

    @applies(player_pb2.PlayerRegistered)
    def apply_registered(
        self, state: player_pb2.PlayerState, event: player_pb2.PlayerRegistered
    ) -> None:
        apply_registered(state, event)

    @applies(player_pb2.FundsDeposited)
    def apply_deposited(
        self, state: player_pb2.PlayerState, event: player_pb2.FundsDeposited
    ) -> None:
        apply_deposited(state, event)

    @applies(player_pb2.PlayerSittingOut)
    def apply_sat_out(
        self, state: player_pb2.PlayerState, event: player_pb2.PlayerSittingOut
    ) -> None:
        apply_sat_out(state, event)

    @handles(player_pb2.SitOut)
    def sit_out(self, cmd: player_pb2.SitOut) -> player_pb2.PlayerSittingOut:
        return sit_out(cmd, self.state)

    @handles(player_pb2.RegisterPlayer)
    def register(self, cmd: player_pb2.RegisterPlayer) -> player_pb2.PlayerRegistered:
        return register(cmd, self.state)

    @handles(player_pb2.DepositFunds)
    def deposit(self, cmd: player_pb2.DepositFunds) -> player_pb2.FundsDeposited:
        return deposit(cmd, self.state)


class Echo(CommandRouter):
    """Answers with the pages it was given and then the new ones."""

    def dispatch(self, request):
        response = super().dispatch(request)
        new = list(response.events.pages)
        del response.events.pages[:]
        response.events.pages.extend([*request.events.pages, *new])
        return response


def router(make: type[CommandRouter] = CommandRouter) -> CommandRouter:
    state = (
        StateRouter(new_state)
        .on(player_pb2.PlayerRegistered, apply_registered)
        .on(player_pb2.FundsDeposited, apply_deposited)
        .on(player_pb2.PlayerSittingOut, apply_sat_out)
    )
    return (
        make("player")
        .with_state(state)
        .on(player_pb2.RegisterPlayer, lambda cmd, state, seq: register(cmd, state))
        .on(player_pb2.DepositFunds, lambda cmd, state, seq: deposit(cmd, state))
        .on(player_pb2.SitOut, lambda cmd, state, seq: sit_out(cmd, state))
    )


def lift(pages: list) -> list:
    """Pages with only their events, as an upcaster that builds new ones returns them."""
    lifted = []
    for page in pages:
        event = player_pb2.PlayerRegistered()
        new = types_pb2.EventPage()
        new.event.CopyFrom(page.event)
        if page.event.Unpack(event):
            event.display_name = event.display_name.upper()
            new.event.Pack(event)
        lifted.append(new)
    return lifted


def main(style: str) -> None:
    logger = structlog.get_logger()
    if style == "router":
        run_command_handler_server(router(), PORT, logger=logger)
    elif style == "class":
        run_command_handler_server(Player, PORT, logger=logger)
    elif style == "echo":
        run_command_handler_server(router(Echo), PORT, logger=logger)
    elif style in ("upcaster", "upcaster-short"):
        lose = 1 if style == "upcaster-short" else 0
        handler = UpcasterHandler("upcaster-player", "player")
        handler = handler.with_handle(lambda pages: lift(pages)[lose:])
        run_upcaster_server("upcaster-player", PORT, handler, logger=logger)
    elif not peer_reactor.main(style, PORT, Player):
        sys.exit(f"unknown style {style!r}")


if __name__ == "__main__":
    main(sys.argv[1])
