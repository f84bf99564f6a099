"""Targets of dead letters, by the type that `dlq.targets` names (DLQ-6)."""

from angzarr.deadletters.registry import redirected

__all__ = ["redirected"]
