"""A hand: pokerkit says what the rules allow, the events say what happened."""

from __future__ import annotations

from pokerkit import State

from angzarr import Aggregate, applies, command, reject
from angzarr.examples.holdem import rules
from angzarr.examples.holdem.messages.game import Chips, Setup
from angzarr.examples.holdem.messages.hand import (
    BetOrRaise,
    BetOrRaised,
    BoardDealt,
    BringInPosted,
    CheckedOrCalled,
    CheckOrCall,
    DealBoard,
    DealHole,
    Draw,
    Drew,
    Fold,
    Folded,
    HandFinished,
    HandStarted,
    HoleDealt,
    PostBringIn,
    ShownOrMucked,
    ShowOrMuck,
    StartHand,
)


class Hand(Aggregate, domain="hand"):
    """One hand, from the setup to the payoffs.

    table_name, name: where it is played, and its own name. actions: in the notation of poker hand
    histories; pokerkit's State is rebuilt from them. stacks, payoffs: empty until it is finished.
    """

    table_name: str = ""
    name: str = ""
    setup: Setup | None = None
    actions: list[str] = []
    stacks: tuple[Chips, ...] = ()
    payoffs: tuple[Chips, ...] = ()
    _state: State | None = None
    _tried: tuple[str, State] | None = None

    @property
    def state(self) -> State:
        """pokerkit's view of the hand; made again from the actions after a load from a snapshot."""
        if self._state is None:
            if self.setup is None:
                reject("the hand has not started")
            self._state = rules.dealt_in(self.setup)
            for action in self.actions:
                rules.act(self._state, action)
        return self._state

    @command
    def start(self, cmd: StartHand) -> HandStarted:
        if self.setup is not None:
            reject("the hand has started")
        if len(cmd.setup.players) != len(cmd.setup.starting_stacks):
            reject("each player needs one stack")
        try:
            rules.dealt_in(cmd.setup)
        except (ValueError, TypeError) as error:
            reject(f"the hand can't be set up: {error}")
        return HandStarted(cmd.table, cmd.hand, cmd.setup)

    @command
    def deal_hole(self, cmd: DealHole) -> list[HoleDealt | HandFinished]:
        finished = self._played(f"d dh p{cmd.player} {cmd.cards}")
        return [HoleDealt(cmd.player, cmd.cards), *finished]

    @command
    def deal_board(self, cmd: DealBoard) -> list[BoardDealt | HandFinished]:
        finished = self._played(f"d db {cmd.cards}")
        return [BoardDealt(cmd.cards), *finished]

    @command
    def post_bring_in(self, cmd: PostBringIn) -> list[BringInPosted | HandFinished]:
        finished = self._played(f"p{cmd.player} pb")
        return [BringInPosted(cmd.player), *finished]

    @command
    def fold(self, cmd: Fold) -> list[Folded | HandFinished]:
        finished = self._played(f"p{cmd.player} f")
        return [Folded(cmd.player), *finished]

    @command
    def check_or_call(self, cmd: CheckOrCall) -> list[CheckedOrCalled | HandFinished]:
        amount = self.state.checking_or_calling_amount
        finished = self._played(f"p{cmd.player} cc")
        return [CheckedOrCalled(cmd.player, amount or 0), *finished]

    @command
    def bet_or_raise(self, cmd: BetOrRaise) -> list[BetOrRaised | HandFinished]:
        finished = self._played(f"p{cmd.player} cbr {cmd.to}")
        return [BetOrRaised(cmd.player, cmd.to), *finished]

    @command
    def draw(self, cmd: Draw) -> list[Drew | HandFinished]:
        finished = self._played(f"p{cmd.player} sd {cmd.cards}")
        return [Drew(cmd.player, cmd.cards), *finished]

    @command
    def show_or_muck(self, cmd: ShowOrMuck) -> list[ShownOrMucked | HandFinished]:
        finished = self._played(f"p{cmd.player} sm {cmd.cards}")
        return [ShownOrMucked(cmd.player, cmd.cards), *finished]

    @applies
    def started(self, event: HandStarted) -> None:
        self.table_name = event.table
        self.name = event.hand
        self.setup = event.setup

    @applies
    def hole_dealt(self, event: HoleDealt) -> None:
        self._act(f"d dh p{event.player} {event.cards}")

    @applies
    def board_dealt(self, event: BoardDealt) -> None:
        self._act(f"d db {event.cards}")

    @applies
    def bring_in_posted(self, event: BringInPosted) -> None:
        self._act(f"p{event.player} pb")

    @applies
    def folded(self, event: Folded) -> None:
        self._act(f"p{event.player} f")

    @applies
    def checked_or_called(self, event: CheckedOrCalled) -> None:
        self._act(f"p{event.player} cc")

    @applies
    def bet_or_raised(self, event: BetOrRaised) -> None:
        self._act(f"p{event.player} cbr {event.to}")

    @applies
    def drew(self, event: Drew) -> None:
        self._act(f"p{event.player} sd {event.cards}")

    @applies
    def shown_or_mucked(self, event: ShownOrMucked) -> None:
        self._act(f"p{event.player} sm {event.cards}")

    @applies
    def finished(self, event: HandFinished) -> None:
        self.stacks = event.stacks
        self.payoffs = event.payoffs

    def _played(self, action: str) -> list[HandFinished]:
        """The hand's end, if `action` ends it. Refuses what the rules do not allow."""
        if self.payoffs:
            reject("the hand is finished")
        try:
            state = rules.after(self.state, action)
        except ValueError as error:
            reject(f"{action}: {error}")
        self._tried = action, state
        if state.status or self.setup is None:
            return []
        return [
            HandFinished(
                self.table_name,
                self.name,
                self.setup.players,
                stacks=tuple(state.stacks),
                payoffs=tuple(state.payoffs),
                collected=rules.collected(state),
            )
        ]

    def _act(self, action: str) -> None:
        tried, self._tried = self._tried, None
        if tried and tried[0] == action:  # decided a moment ago, on the very state that this is
            self._state = tried[1]
        else:
            rules.act(self.state, action)
        self.actions.append(action)

    def copied(self) -> Hand:
        """The same hand, to be played on by itself."""
        made = Hand()
        made.table_name, made.name, made.setup = self.table_name, self.name, self.setup
        made.actions, made.stacks, made.payoffs = [*self.actions], self.stacks, self.payoffs
        made._state = rules.copied(self.state) if self.setup else None
        return made
