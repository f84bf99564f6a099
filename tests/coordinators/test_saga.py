"""Sagas: what is delivered to them, and what of it is answered (SAGA-1 to SAGA-19, SPEC-5)."""

from __future__ import annotations

import pytest

from .reacting import Script, command, indexes, sends


@pytest.mark.spec("SAGA-12", "SAGA-15")
async def test_the_example(town):
    script = Script()
    await town.fill("player", 7)
    await town.fill("table", 2)
    script.answers.append(
        lambda asked: sends(
            *(
                command(domain, f"{domain}=1", at=asked.destination_sequences[domain])
                for domain in ("player", "table")
            )
        )
    )
    saga = town.saga(script)
    book = await town.published("paid=1")

    outcome = await saga.react(book)

    assert outcome.failure is None
    assert indexes(outcome) == ([0, 1], [])
