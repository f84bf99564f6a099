"""Read stores: databases in which a projector's rows and positions commit together."""

from angzarr.readstores.registry import read_store
from angzarr.readstores.sqlite import Sqlite
from angzarr.readstores.sqlite_reader import SqliteReader
from angzarr.readstores.tables import TableUnit, create_tables

__all__ = ["Sqlite", "SqliteReader", "TableUnit", "create_tables", "read_store"]
