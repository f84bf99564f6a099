"""A table: who sits where with how many chips, and the hand that they play."""

from __future__ import annotations

from dataclasses import dataclass, replace

from angzarr import Aggregate, Rejection, Revocation, applies, command, reject, rejected
from angzarr.examples.holdem.dealer import Dealer
from angzarr.examples.holdem.messages.game import Chips, Setup
from angzarr.examples.holdem.messages.hand import StartHand
from angzarr.examples.holdem.messages.player import ReserveFunds
from angzarr.examples.holdem.messages.table import (
    HandCalledOff,
    HandOpened,
    HandSettled,
    Join,
    Leave,
    OpenHand,
    OpenTable,
    PlayerLeft,
    PlayerSeated,
    SeatGivenUp,
    SeatPlayer,
    SeatReserved,
    SettleHand,
    TableOpened,
)


@dataclass(frozen=True)
class Seat:
    """stack: None until the funds for the buy-in are there. During a hand, that at its start."""

    number: int
    buy_in: Chips
    stack: Chips | None = None


class Table(Aggregate, domain="table", sagas=[Dealer]):
    """seats: by player, reserved ones included. hand, dealt_in: the running hand and who plays it;
    "" and nobody between two hands. settled_count: hands that were played to their end.
    """

    name: str = ""
    seats: dict[str, Seat] = {}
    hand: str = ""
    dealt_in: Setup | None = None
    settled_count: int = 0

    @command
    def open(self, cmd: OpenTable) -> TableOpened:
        if self.name:
            reject(f"{self.name} is open")
        if not cmd.name:
            reject("a table needs a name")
        return TableOpened(cmd.name)

    @command
    def join(self, cmd: Join) -> SeatReserved:
        if not self.name:
            reject("the table is not open")
        if cmd.player in self.seats:
            reject(f"{cmd.player} has a seat")
        if any(seat.number == cmd.seat for seat in self.seats.values()):
            reject(f"seat {cmd.seat} is taken")
        if cmd.buy_in <= 0:
            reject("a buy-in is more than zero")
        return SeatReserved(self.name, cmd.player, cmd.seat, cmd.buy_in)

    @command
    def seat_player(self, cmd: SeatPlayer) -> PlayerSeated:
        seat = self.seats.get(cmd.player)
        if seat is None or seat.stack is not None or seat.buy_in != cmd.stack:
            reject(f"no seat waits for {cmd.player} and {cmd.stack} chips")
        return PlayerSeated(cmd.player, cmd.stack)

    @command
    def leave(self, cmd: Leave) -> PlayerLeft | SeatGivenUp:
        seat = self.seats.get(cmd.player)
        if seat is None:
            reject(f"{cmd.player} has no seat")
        if self.dealt_in and cmd.player in self.dealt_in.players:
            reject(f"{cmd.player} plays {self.hand}")
        if seat.stack is None:
            return SeatGivenUp(cmd.player, "left before the chips were there")
        return PlayerLeft(self.name, cmd.player, seat.stack)

    @command
    def open_hand(self, cmd: OpenHand) -> HandOpened:
        if self.hand:
            reject(f"{self.hand} is not settled")
        stacks = self._stacks_from(cmd.first_seat)
        if len(stacks) < 2:
            reject("a hand needs two players with chips")
        setup = Setup(cmd.game, tuple(stacks), tuple(stacks.values()))
        return HandOpened(self.name, cmd.hand, setup)

    @command
    def settle_hand(self, cmd: SettleHand) -> HandSettled:
        if self.dealt_in is None or cmd.hand != self.hand:
            reject(f"{cmd.hand} is not played here")
        if cmd.players != self.dealt_in.players or len(cmd.stacks) != len(cmd.players):
            reject(f"{cmd.hand} is played by {', '.join(self.dealt_in.players)}")
        if sum(cmd.stacks) != sum(self.dealt_in.starting_stacks):
            reject("chips were lost or made")
        return HandSettled(cmd.hand, cmd.players, cmd.stacks)

    @rejected
    def not_funded(self, rejection: Rejection[ReserveFunds]) -> SeatGivenUp | Revocation:
        """The player can't pay: the seat is free again, unless it is already."""
        player = rejection.command.player
        seat = self.seats.get(player)
        if seat is None or seat.stack is not None:
            return Revocation("the seat was given up before")
        return SeatGivenUp(player, rejection.reason)

    @rejected
    def not_dealt(self, rejection: Rejection[StartHand]) -> HandCalledOff | Revocation:
        """The hand can't be played as it was opened: the table is free for another one."""
        if rejection.command.hand != self.hand:
            return Revocation("another hand is played")
        return HandCalledOff(self.hand, rejection.reason)

    @applies
    def opened(self, event: TableOpened) -> None:
        self.name = event.name

    @applies
    def seat_reserved(self, event: SeatReserved) -> None:
        self.seats[event.player] = Seat(event.seat, event.buy_in)

    @applies
    def seat_given_up(self, event: SeatGivenUp) -> None:
        del self.seats[event.player]

    @applies
    def player_seated(self, event: PlayerSeated) -> None:
        self._set_stack(event.player, event.stack)

    @applies
    def player_left(self, event: PlayerLeft) -> None:
        del self.seats[event.player]

    @applies
    def hand_opened(self, event: HandOpened) -> None:
        self.hand = event.hand
        self.dealt_in = event.setup

    @applies
    def hand_called_off(self, event: HandCalledOff) -> None:
        self.hand = ""
        self.dealt_in = None

    @applies
    def hand_settled(self, event: HandSettled) -> None:
        self.hand = ""
        self.dealt_in = None
        self.settled_count += 1
        for player, stack in zip(event.players, event.stacks, strict=True):
            self._set_stack(player, stack)

    def _set_stack(self, player: str, stack: Chips) -> None:
        self.seats[player] = replace(self.seats[player], stack=stack)

    def _stacks_from(self, first_seat: int) -> dict[str, Chips]:
        """The stacks of those who have one, around the table from a seat."""
        around = sorted(
            self.seats.items(), key=lambda item: (item[1].number < first_seat, item[1].number)
        )
        return {player: seat.stack for player, seat in around if seat.stack}
