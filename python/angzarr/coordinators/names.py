"""The names of one reaction: `saga:shipping` and `pm:fulfilment` in provenance, where components
are `saga:shipping` and `process_manager:fulfilment`. Pure.
"""

from __future__ import annotations

SAGA = "saga"
PROCESS_MANAGER = "process_manager"


def type_of(component: str) -> str:
    """`saga` or `process_manager`: of dead letters and cascade errors."""
    kind = component.partition(":")[0]
    return PROCESS_MANAGER if kind in ("pm", PROCESS_MANAGER) else SAGA


def bare(component: str) -> str:
    """The name alone: `shipping`."""
    return component.rpartition(":")[2]


def full(component: str) -> str:
    """The name of the component, as the configuration has it."""
    return f"{type_of(component)}:{bare(component)}"


def label(component: str) -> str:
    """`Saga shipping`, `Process manager fulfilment`: as errors begin (SYNC-6)."""
    word = "Process manager" if type_of(component) == PROCESS_MANAGER else "Saga"
    return f"{word} {bare(component)}"
