"""Small questions to another process's store: several of them in one call while a loop is busy,
since a call costs ten times what most of them take to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from angzarr.errors import AngzarrError, InvalidInput
from angzarr.gathering import Gathering

SEVERAL: Final = "stores.several"
"""No method of the ports: its arguments are `Asked`, its result is `Answers`."""
SMALL: Final = frozenset(
    {
        "editions.get",
        "events.next_sequence",
        "events.length_at",
        "events.divergence",
        "events.decision",
        "events.find_by_provenance",
        "events.find_by_external_id",
        "positions.get",
        "positions.cursor",
    }
)
"""Questions that change nothing, so that they may be asked again, and have short answers as a
rule."""
COUNT_MAX: Final = 64
"""Questions in one call."""
ANSWER_BYTES_MAX: Final = 16 * 1024
"""Of one question among several; a longer one is asked by itself."""

Asked = list[tuple[str, bytes]]
"""The name and the arguments of each."""
Answers = list[bytes | None]
"""The result of each. None: it is to be asked by itself, for its error, or as it is too long."""
_Question = tuple[str, bytes, asyncio.Future[bytes | None]]

_encode: Final = msgspec.msgpack.Encoder().encode
_asked: Final = msgspec.msgpack.Decoder(Asked)
_answers: Final = msgspec.msgpack.Decoder(Answers)


class Batches:
    """The small questions of one event loop. call: asks several of them."""

    def __init__(self, call: Callable[[Asked], Awaitable[Answers]]) -> None:
        self._call = call
        self._gathering = Gathering[_Question](self._begin, count_max=COUNT_MAX)
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, name: str, arguments: bytes) -> bytes | None:
        """The result of one of SMALL; None if it is to be asked by itself, as it also is when it
        has no company. Raises what the call raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._gathering.add(loop, (name, arguments, future))
        return await future

    def _begin(self, questions: list[_Question]) -> None:
        waited_for = [question for question in questions if not question[2].done()]
        if len(waited_for) < 2:
            _settle(waited_for, [None] * len(waited_for))
            return
        task = asyncio.get_running_loop().create_task(self._run(waited_for))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, questions: list[_Question]) -> None:
        try:
            answers = await self._call([(name, arguments) for name, arguments, _ in questions])
        except AngzarrError as error:
            for _, _, future in questions:
                if not future.done():
                    future.set_exception(error)
        except BaseException:
            for _, _, future in questions:
                future.cancel()
            raise
        else:
            _settle(questions, answers)


def _settle(questions: list[_Question], answers: Answers) -> None:
    for (_, _, future), answer in zip(questions, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def asked_bytes(asked: Asked) -> bytes:
    """The questions as arguments of SEVERAL."""
    return _encode(asked)


def asked_of(data: bytes) -> Asked:
    """The questions that asked_bytes() wrote. Raises InvalidInput for something else, and for more
    than COUNT_MAX.
    """
    try:
        asked = _asked.decode(data)
    except msgspec.MsgspecError as error:
        raise InvalidInput("arguments", f"those of {SEVERAL}", error) from error
    if len(asked) > COUNT_MAX:
        raise InvalidInput("arguments", f"at most {COUNT_MAX} questions", len(asked))
    return asked


def answers_bytes(answers: Answers) -> bytes:
    """The answers as the result of SEVERAL."""
    return _encode(answers)


def answers_of(data: bytes, count: int) -> Answers:
    """The `count` answers that answers_bytes() wrote. Raises msgspec.MsgspecError for something
    else.
    """
    answers = _answers.decode(data)
    if len(answers) != count:
        raise msgspec.ValidationError(f"{len(answers)} answers to {count} questions")
    return answers
