"""For your tests: given/when/then for handlers, contracts for adapters, a clock to turn by hand."""

from angzarr.testing.clock import ManualClock
from angzarr.testing.projections import GivenProjector
from angzarr.testing.reactions import GivenProcess, GivenSaga, ProcessOutcome, SagaOutcome
from angzarr.testing.scenario import Given, Outcome, given

__all__ = [
    "Given",
    "GivenProcess",
    "GivenProjector",
    "GivenSaga",
    "ManualClock",
    "Outcome",
    "ProcessOutcome",
    "SagaOutcome",
    "given",
]
