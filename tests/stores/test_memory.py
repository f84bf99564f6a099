"""The store in memory keeps every contract but durability."""

from __future__ import annotations

import importlib

import pytest

from angzarr.testing.contracts.append import AppendContract
from angzarr.testing.contracts.correlation import *
