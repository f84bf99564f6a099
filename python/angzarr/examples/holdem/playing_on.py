"""How a hand goes on where it leaves what was really played.

Whoever is left does not change their mind for the better: who folded next in the real hand folds,
if there is something to call; everybody else checks or calls. Nobody raises, since the raises of
the real hand answered what is not there any more. The dealer deals the cards that were really
dealt, in their order, and others at random when these are used up. At a showdown all hands are
shown; cards that nobody knows are taken from those that nobody has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random

from pokerkit import State

from angzarr.examples.holdem.messages.hand import (
    Action,
    CheckOrCall,
    DealBoard,
    DealHole,
    Draw,
    Fold,
    PostBringIn,
    ShowOrMuck,
)
from angzarr.examples.holdem.rules import UNKNOWN_CARD, burnt

UNKNOWN = UNKNOWN_CARD[0]


class PlayingOn:
    """Says what comes next in a hand, whatever its game.

    rest: what was really done from the fork on; its bets decide nothing but who folds next. random:
    the source of cards that were never dealt.
    """

    def __init__(self, rest: Iterable[Action], random: Random) -> None:
        self._random = random
        self._boards: deque[str] = deque()
        self._holes: dict[int, deque[str]] = {}
        self._bets: dict[int, deque[Action]] = {}
        self._draws: dict[int, deque[str]] = {}
        self._shown: dict[int, str] = {}
        for action in rest:
            match action:
                case DealBoard(cards):
                    self._boards.append(cards)
                case DealHole(player, cards):
                    self._holes.setdefault(player, deque()).append(cards)
                case Draw(player, cards):
                    self._draws.setdefault(player, deque()).append(cards)
                case ShowOrMuck(player, cards):
                    self._shown[player] = cards
                case _:
                    self._bets.setdefault(action.player, deque()).append(action)

    def next(self, state: State) -> Action | None:
        """What is done next; None when the hand is over."""
        now = burnt(state)
        return self.dealt(now) or self.bet(now)

    def dealt(self, state: State) -> Action | None:
        """What the dealer does next, or a player other than betting; None if somebody has to bet,
        or the hand is over. state: with a card burnt where that comes first (`burnt`)."""
        if state.stand_patter_or_discarder_index is not None:
            return self._draw(state, state.stand_patter_or_discarder_index)
        if state.hole_dealee_index is not None:
            return self._hole(state, state.hole_dealee_index)
        if state.board_dealing_count:
            return DealBoard(self._cards(state, self._boards, state.board_dealing_count))
        if state.showdown_index is not None:
            return self._show(state, state.showdown_index)
        return None

    def bet(self, state: State) -> Action | None:
        """What the player does whose turn it is to bet; None if it is nobody's."""
        if state.actor_index is None:
            return None
        player = state.actor_index + 1
        if state.can_post_bring_in():
            return PostBringIn(player)
        done = self._bets.get(player)
        real = done.popleft() if done else None
        is_fold = isinstance(real, Fold) and state.checking_or_calling_amount
        return Fold(player) if is_fold else CheckOrCall(player)

    def _hole(self, state: State, index: int) -> DealHole:
        count = len(state.hole_dealing_statuses[index])
        real = self._holes.setdefault(index + 1, deque())
        return DealHole(index + 1, self._cards(state, real, count))

    def _draw(self, state: State, index: int) -> Draw:
        """The real one, if those cards are still held; else the player stands pat."""
        real = self._draws.get(index + 1)
        cards = real.popleft() if real else ""
        return Draw(index + 1, cards if state.can_stand_pat_or_discard(cards or ()) else "")

    def _show(self, state: State, index: int) -> ShowOrMuck:
        held = [repr(card) for card in state.hole_cards[index]]
        known = [card for card in held if UNKNOWN not in card]
        if len(known) == len(held):
            return ShowOrMuck(index + 1, "".join(held))
        real = self._shown.get(index + 1, "")
        if len(real) == 2 * len(held) and UNKNOWN not in real:
            return ShowOrMuck(index + 1, real)
        found = self._deal(state, len(held) - len(known))
        return ShowOrMuck(index + 1, "".join([*known, *found]))

    def _cards(self, state: State, real: deque[str], count: int) -> str:
        """The cards that were really dealt next, unless there are none, or others are needed."""
        if real and len(real[0]) == 2 * count and self._are_free(state, real[0]):
            return real.popleft()
        real.clear()
        return "".join(self._deal(state, count))

    def _are_free(self, state: State, cards: str) -> bool:
        free = {*_free(state), UNKNOWN_CARD}
        return all(cards[i : i + 2] in free for i in range(0, len(cards), 2))

    def _deal(self, state: State, count: int) -> list[str]:
        return self._random.sample(_free(state, count), count)


def _free(state: State, count: int = 0) -> Sequence[str]:
    """The cards that nobody has, those thrown away among them if `count` are needed and the deck
    has fewer; in an order of their own, since pokerkit's deck is shuffled."""
    return sorted(repr(card) for card in state.get_dealable_cards(count, False))
