"""Borders that import-linter can't see, since it knows no extension modules."""

import ast
import pathlib

import angzarr

PACKAGE = pathlib.Path(angzarr.__file__).parent
MAY_IMPORT_ENGINE = {
    "rpc/door.py",
    "stores/_mailboxes.py",
    "stores/_rocksdb_editions.py",
    "stores/_rocksdb_engine.py",
    "stores/backup.py",
    "stores/rocksdb.py",
}


def test_the_native_module_is_imported_by_its_adapters_alone() -> None:
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and "_native" in ast.unparse(node)
    }

    assert importers <= MAY_IMPORT_ENGINE
