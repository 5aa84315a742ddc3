"""The database of keys and usage: SQLite in a file, or PostgreSQL by address.

All SQL of the project is in `store`. Every function blocks; call them from threads. The schema is
made by the scripts in `migrations`, run when a database is opened that is not up to date.
"""

import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Boolean,
    ClauseElement,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from fishs2 import __version__
from fishs2.errors import SettingsError, StoreFullError, StoreUnavailableError
from fishs2.store.failures import store_errors

REVISIONS = ("0001",)
"""Those in `migrations/versions`, oldest first."""

HEAD = REVISIONS[-1]

_BEGIN_WRITING = "BEGIN IMMEDIATE"
_BUSY_TIMEOUT_S = 4
_OPENING_PATIENCE_S = 30.0
"""How long the first use of a database waits for others who open, change or migrate it."""

_RETRY_S = 0.02
_SERVER_TIMEOUTS = {
    "connect_timeout": 5,  # s
    "tcp_user_timeout": 8_000,  # ms
    "options": "-c statement_timeout=8000 -c lock_timeout=4000",  # ms
}
_MIGRATION_LOCK = 0x66697368  # any number that no other program takes: "fish"

metadata = MetaData()

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("expires_s", BigInteger),
    Column("is_disabled", Boolean, nullable=False),
    Column("granted", BigInteger),  # characters; null is unlimited
    Column("spent", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("active", Integer, nullable=False),  # reservations that are not settled
    Column("per_minute", Integer),
    Column("streams", Integer),
    Column("last_used_s", BigInteger),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key_id", String(16), ForeignKey("keys.id"), nullable=False, index=True),
    Column("owner_id", String(32), nullable=False, index=True),
    Column("num_chars", BigInteger, nullable=False),
    Column("is_void", Boolean, nullable=False),  # given back, as its owner seemed dead
)

owners = Table(
    "owners",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("alive_until_s", BigInteger, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("key_id", String(16), ForeignKey("keys.id"), primary_key=True),
    Column("day", String(10), primary_key=True),  # ISO date, UTC
    Column("num_requests", BigInteger, nullable=False),
    Column("num_chars", BigInteger, nullable=False),
    Column("audio_ms", BigInteger, nullable=False),
    Column("num_errors", BigInteger, nullable=False),
)


Run = Callable[[ClauseElement, Mapping[str, object]], DBAPICursor]
"""Runs a statement with its parameters."""


class Database:
    """One database. Thread-safe; several processes may use it at once."""

    def __init__(self, url: str, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> None:
        """url: `sqlite:///file` or `postgresql://...`. Opens nothing yet. Raises SettingsError.

        busy_timeout_s: how long a statement waits for whoever else has a lock of a file.
        """
        self.is_sqlite = url.startswith("sqlite")
        self._file = _sqlite_file(url) if self.is_sqlite else None
        self._engine = _make_engine(url, busy_timeout_s if self.is_sqlite else None)
        self._writer = self._engine.execution_options(is_writing=True)
        self._prepared: dict[ClauseElement, tuple[str, Mapping[str, object]]] = {}

    @property
    def exists(self) -> bool:
        """Whether there is anything to open; a server always is. Raises StoreUnavailableError."""
        if self._file is None:
            return True
        # A folder that cannot be looked into, or is none, is no sign that there are no keys.
        with store_errors("keys"):
            try:
                self._file.stat()
            except FileNotFoundError:
                return False
        return True

    def migrate(self) -> None:
        """Bring the schema up to date, making the database if need be.

        Raises SettingsError for a file that is no database, or one of a newer version;
        StoreUnavailableError.
        """
        if self._file is not None:
            with store_errors("keys"):
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _make_private(self._file)
        try:
            self._migrate()
        except StoreUnavailableError as error:
            if _code(error.__cause__) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise
            raise SettingsError(f"{error.message}; put back a copy, or move it away") from error

    def check_writable(self) -> None:
        """Raise StoreUnavailableError unless something could be changed."""
        with self.write():
            pass

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state. Raises StoreUnavailableError."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change anything; undone if the block raises.

        Raises StoreUnavailableError.
        """
        with _translated(), self._writer.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write_prepared(self) -> Iterator[Run]:
        """Like `write`, for statements of every request: a third of the time, by the driver.

        Yields a function that runs a Core statement with its parameters, and returns the driver's
        cursor. Raises StoreUnavailableError.
        """
        with _translated(self._engine.dialect.loaded_dbapi.Error):
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                if self.is_sqlite:
                    cursor.execute(_BEGIN_WRITING)

                def run(statement: ClauseElement, values: Mapping[str, object]) -> DBAPICursor:
                    sql, constants = self._prepare(statement)
                    cursor.execute(sql, {**constants, **values})
                    return cursor

                yield run
                connection.commit()
            finally:
                # The pool rolls back what has not been committed.
                connection.close()

    def _prepare(self, statement: ClauseElement) -> tuple[str, Mapping[str, object]]:
        found = self._prepared.get(statement)
        if found is None:
            compiled = statement.compile(self._engine)
            found = self._prepared[statement] = str(compiled), compiled.params
        return found

    def _migrate(self) -> None:
        revision = self._revision()
        if revision not in (None, *REVISIONS):
            raise SettingsError(
                f"the database of keys has version {revision}, and fishs2 {__version__} knows "
                f"versions up to {HEAD}: a newer fishs2 has used it; update this one, or name "
                "another database in FISHS2_DATABASE_URL"
            )
        if revision != HEAD:
            self._upgrade()

    def _revision(self) -> str | None:
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            rows = connection.execute(text("SELECT version_num FROM alembic_version"))
            found = rows.scalars().all()
        # Several are what no version of ours leaves.
        return " ".join(sorted(found)) or None

    def _upgrade(self) -> None:
        # Imported here: most starts have nothing to migrate.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        patient = self._writer.execution_options(patience_s=_OPENING_PATIENCE_S)
        with _translated(), patient.connect() as connection, connection.begin():
            if not self.is_sqlite:
                # SQLite's writer is alone anyway; here a second server waits until we are done.
                connection.execute(select(text(f"pg_advisory_xact_lock({_MIGRATION_LOCK})")))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _make_engine(url: str, busy_timeout_s: float | None) -> Engine:
    """busy_timeout_s: None where it is no file but a server."""
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        if busy_timeout_s is None:
            return create_engine(url, pool_pre_ping=True, connect_args=_SERVER_TIMEOUTS)
        engine = create_engine(url, paramstyle="named", connect_args={"timeout": busy_timeout_s})
    except (ArgumentError, ValueError):
        # Without its words: they may hold the password.
        raise SettingsError(
            "FISHS2_DATABASE_URL must be like sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from None
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(
            "FISHS2_DATABASE_URL needs a driver that is not installed; for PostgreSQL: "
            "pip install 'fishs2[postgres]'"
        ) from error
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """Make an empty file for its owner only, unless there is one.

    SQLite gives its other files the permissions of this one. No descriptor of a database is ever
    opened here: to close one drops the locks that SQLite holds on it in this process, and another
    process would take the database for unused. Source: "How To Corrupt An SQLite Database File".
    """
    if file.exists():
        return
    handle, draft = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    os.close(handle)
    try:
        # Where the file system has no links, SQLite makes the file, as private as others there.
        with suppress(OSError):
            os.link(draft, file)
    finally:
        os.unlink(draft)


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver begins transactions by itself, late and not as writers. Source: SQLAlchemy's
    # documentation of pysqlite, "Serializable isolation".
    connection.isolation_level = None

    def set_up() -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    # From here on the connection keeps others from cleaning up or recovering the log, and the
    # driver's own timeout is enough.
    _wait_for_turn(set_up, _OPENING_PATIENCE_S)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    # A reader that becomes a writer midway may fail at once, however long others may wait.
    begin = _BEGIN_WRITING if options.get("is_writing", False) else "BEGIN"
    _wait_for_turn(lambda: connection.exec_driver_sql(begin), options.get("patience_s", 0.0))


def _wait_for_turn(work: Callable[[], object], patience_s: float) -> None:
    """Try until the database is not locked any more.

    SQLite's own timeout does not cover the switch to WAL, nor the moments when the log is recovered
    or removed: there it fails at once. Source: SQLite, "Write-Ahead Logging", section 9.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            work()
            return
        except (sqlite3.OperationalError, DBAPIError) as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline_s:
                raise
        # At random: two who want to switch to WAL at once would fail at once for ever.
        time.sleep(random.uniform(0, _RETRY_S))


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 for what is no error of SQLite's."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code: int = getattr(cause, "sqlite_errorcode", 0)
    return code & 0xFF


def _sqlite_file(url: str) -> Path:
    file = url.partition("///")[2]
    if not file:
        raise SettingsError("FISHS2_DATABASE_URL names no file; it must be like sqlite:///FILE")
    return Path(file)


@contextmanager
def _translated(driver_error: type[Exception] = DBAPIError) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, driver_error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        message = f"the database cannot be used: {reason}"
        kind = StoreFullError if _code(error) == sqlite3.SQLITE_FULL else StoreUnavailableError
        raise kind(message) from error
