"""Without the extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules[{package!r}] = None
from angzarr import data, errors
try:
    {use}
except errors.MissingExtra as error:
    print(error)
"""


def said(package: str, use: str) -> str:
    """What a program prints that has no such package."""
    program = WITHOUT.format(package=package, use=use)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("name", ["batches", "read", "explore", "Batch", "load"])
def test_a_name_that_needs_numpy_says_which_extra_has_it(name: str) -> None:
    assert "pip install 'angzarr[data]'" in said("numpy", f"data.{name}")


def test_parquet_without_pyarrow_says_which_extra_has_it() -> None:
    use = "data.batches('memory://').save('rows.parquet')"

    assert "pyarrow is not installed; run: pip install 'angzarr[data]'" in said("pyarrow", use)


def test_arrays_need_no_pyarrow() -> None:
    assert said("pyarrow", "print(len(data.read('memory://')))") == "0\n"


def test_a_program_without_data_loads_no_numpy() -> None:
    program = "import sys, angzarr.data; from angzarr import App; print('numpy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout == b"False\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    from angzarr import data

    with pytest.raises(AttributeError, match="nothing"):
        data.nothing  # noqa: B018
