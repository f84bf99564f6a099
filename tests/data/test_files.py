"""Files of batches: what is read back is what was written, whole or not at all."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from angzarr import data
from angzarr.caller_sync import SyncCaller
from angzarr.errors import CorruptData, InvalidInput

from .conftest import Account, Deposited

FIELDS = {"cents": "cents", "note": "note", "plain": data.Field(Deposited, "note", "strings")}


def several(calls: SyncCaller, **more: object) -> data.Batches:
    """Batches of three, so that categories grow on the way."""
    options = {"editions": "*", "batch_rows": 3, "fields": FIELDS, "payloads": True} | more
    return data.batches(calls, **options)  # type: ignore[arg-type]


@pytest.mark.spec("DATA-10")
@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_numpys_files_are_read_as_they_were_written(
    shop: SyncCaller, tmp_path: pathlib.Path, suffix: str
) -> None:
    wanted = data.read(shop, editions="*", fields=FIELDS, payloads=True)

    several(shop).save(tmp_path / f"rows.{suffix}")
    found = data.load(tmp_path / f"rows.{suffix}")

    assert list(found) == sorted(wanted)
    for name in wanted:
        assert found[name].tolist() == wanted[name].tolist()
        assert found[name].dtype == wanted[name].dtype
    assert {n: m.tolist() for n, m in found.valid.items()} == {
        n: m.tolist() for n, m in wanted.valid.items()
    }
    assert {n: list(c) for n, c in found.categories.items()} == {
        n: list(c) for n, c in wanted.categories.items()
    }
    assert found.payloads is not None
    assert list(found.payloads) == list(wanted.payloads or ())
    assert found.position == wanted.position


@pytest.mark.spec("DATA-10")
def test_an_archive_is_numpys_own(shop: SyncCaller, tmp_path: pathlib.Path) -> None:
    several(shop).save(tmp_path / "rows.npz")

    with np.load(tmp_path / "rows.npz", allow_pickle=False) as archive:
        assert archive["position"].tolist() == list(range(1, 12))
        names = archive["type.categories"][archive["type"]]
    assert names[-1] == "account.Withdrawn"


@pytest.mark.spec("DATA-10")
def test_a_directorys_arrays_are_mapped(shop: SyncCaller, tmp_path: pathlib.Path) -> None:
    several(shop).save(tmp_path / "rows.npy")

    assert isinstance(data.load(tmp_path / "rows.npy")["position"], np.memmap)


@pytest.mark.spec("DATA-10")
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_arrow_and_parquet_hold_strings_numbers_and_nulls(
    shop: SyncCaller, tmp_path: pathlib.Path, suffix: str
) -> None:
    several(shop).save(tmp_path / f"rows.{suffix}")

    if suffix == "parquet":
        table = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    else:
        table = pyarrow.ipc.open_file(tmp_path / "rows.arrow").read_all()
    rows = data.read(shop, editions="*", fields=FIELDS, payloads=True)
    assert table["position"].to_pylist() == rows["position"].tolist()
    assert table["type"].to_pylist() == rows.text("type").tolist()
    assert table["note"].to_pylist() == table["plain"].to_pylist() == rows["plain"].tolist()
    assert table["cents"].to_pylist() == [0, 100, 200, 300, 400, 500, None, 50, 10, 20, 5]
    assert table["root"].to_pylist() == [root.tobytes() for root in rows["root"]]
    assert table["time"].cast(pa.int64()).to_pylist() == rows["time"].astype(np.int64).tolist()
    assert table["payload"].to_pylist() == list(rows.payloads or ())


@pytest.mark.spec("DATA-10")
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "npz", "npy"])
def test_no_rows_are_a_file_with_all_columns(
    shop: SyncCaller, tmp_path: pathlib.Path, suffix: str
) -> None:
    file = several(shop, domains="nowhere").save(tmp_path / f"rows.{suffix}")

    assert file.row_count == 0
    if suffix == "parquet":
        assert "cents" in pyarrow.parquet.read_schema(file.path).names
    elif suffix == "arrow":
        assert "cents" in pyarrow.ipc.open_file(file.path).schema.names
    else:
        assert "cents" in data.load(file.path).columns


@pytest.mark.spec("DATA-11")
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "npz", "npy"])
def test_a_failure_leaves_nothing_behind(
    shop: SyncCaller, tmp_path: pathlib.Path, suffix: str
) -> None:
    def fail(done: int, total: int) -> None:
        if done > 3:
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        several(shop, progress=fail).save(tmp_path / f"rows.{suffix}")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.spec("DATA-11")
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "npz", "npy"])
def test_a_file_that_is_there_is_replaced_only_when_that_is_said(
    shop: SyncCaller, tmp_path: pathlib.Path, suffix: str
) -> None:
    path = tmp_path / f"rows.{suffix}"
    several(shop).save(path)

    with pytest.raises(InvalidInput, match="a new file"):
        several(shop).save(path)
    file = several(shop, editions="what-if").save(path, overwrite=True)

    assert file.row_count == 2
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_an_unknown_suffix_is_refused(shop: SyncCaller, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidInput, match="one of parquet, arrow, npz, npy"):
        several(shop).save(tmp_path / "rows.csv")


def test_a_directory_that_is_not_there_is_refused(shop: SyncCaller, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidInput, match="directory that exists"):
        several(shop).save(tmp_path / "nowhere" / "rows.npz")


def test_other_archives_are_not_loaded(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))

    with pytest.raises(CorruptData, match=r"log\.position"):
        data.load(tmp_path / "other.npz")


def test_a_writer_without_batches_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidInput, match="at least one"), data.writer(tmp_path / "x.npz"):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.spec("DATA-25")
def test_an_exploration_is_two_files(shop: SyncCaller, tmp_path: pathlib.Path) -> None:
    found = data.explore(
        shop,
        Account,
        [data.Point("a0", 1)],
        lambda state, rng, branch: None,
        branches=7,
        batch=3,
        observe=lambda state: {"balance": state.balance},
    )

    found.save(tmp_path / "tries", "npz")

    assert data.load(tmp_path / "tries" / "branches.npz")["balance"].tolist() == [0] * 7
    assert len(data.load(tmp_path / "tries" / "events.npz")) == 0
