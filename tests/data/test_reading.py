"""The log as batches: what the arrays say is what the streams hold."""

from __future__ import annotations
