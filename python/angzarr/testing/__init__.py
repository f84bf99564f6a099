"""For your tests: given/when/then for handlers, contracts for adapters, a clock to turn by hand."""

from angzarr.testing.clock import ManualClock
from angzarr.testing.projections import GivenProjector
from angzarr.testing.scenario import Given, Outcome, given

__all__ = ["Given", "GivenProjector", "ManualClock", "Outcome", "given"]
