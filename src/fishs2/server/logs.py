"""Log files: app.log, access.log and errors.log, rotated, one `key="value"` line each.

Lines are written by a thread of their own, so that a slow disk never stalls the event loop.
"""

import json
import logging
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

from fishs2.errors import SettingsError

ACCESS_LOGGER = "fishs2.access"

_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "color_message",
}


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Where the logs go. level: the least severe that is written. max_bytes: of a file, which is
    rotated then; num_backups of it are kept.
    """

    folder: Path
    app: str
    access: str
    errors: str
    _: KW_ONLY
    level: str
    max_bytes: int
    num_backups: int


class LineFormatter(logging.Formatter):
    """One line: ts, level, logger, request_id, msg, then the extras in alphabetical order."""

    def format(self, record: logging.LogRecord) -> str:
        extras = {k: v for k, v in vars(record).items() if k not in _STANDARD_FIELDS}
        fields: dict[str, object] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "request_id": extras.pop("request_id", "-"),
            "msg": record.getMessage(),
            **dict(sorted(extras.items())),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        # JSON strings escape quotes, newlines and control characters: no line can be forged.
        return " ".join(
            f"{key}={json.dumps(str(value))}" for key, value in fields.items() if value is not None
        )


class _PlainQueueHandler(QueueHandler):
    """Passes records on as they are: the listener is in this process and nothing is pickled."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


class _FileHandler(RotatingFileHandler):
    """Says once what keeps it from writing, where the standard one writes a traceback for each."""

    _is_lost = False

    def emit(self, record: logging.LogRecord) -> None:
        self._is_failing = False
        super().emit(record)
        self._is_lost = self._is_failing

    def handleError(self, record: logging.LogRecord) -> None:
        self._is_failing = True
        error = sys.exception()
        if isinstance(error, OSError):
            if not self._is_lost:
                reason, name = error.strerror, Path(self.baseFilename).name
                print(f"ERROR {name} cannot be written: {reason}", file=sys.stderr)
            return
        super().handleError(record)


@contextmanager
def log_to_files(files: LogFiles) -> Iterator[None]:
    """Send the logs of this process to files and to the terminal while inside.

    Raises SettingsError when the folder cannot be written to.
    """
    root = logging.getLogger()
    handlers = _open_handlers(files)
    # Unbounded: dropping log lines hides trouble, and a request writes only two.
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    inlet = _PlainQueueHandler(records)
    listener = QueueListener(records, *handlers, respect_handler_level=True)
    root.addHandler(inlet)
    root.setLevel(files.level)
    # We say ourselves what it would say of starts, stops and answers that were cut.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.removeHandler(inlet)
        for handler in handlers:
            # What a full disk did not take then, it does not take now either.
            with suppress(OSError):
                handler.close()


def _open_handlers(files: LogFiles) -> list[logging.Handler]:
    folder = files.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        app_file = _rotating(folder / files.app, files)
        access_file = _rotating(folder / files.access, files)
        error_file = _rotating(folder / files.errors, files)
    except OSError as error:
        raise SettingsError(
            f"FISHS2_LOGS_DIR={str(folder)!r} cannot be written to: {error.strerror}"
        ) from error
    app_file.addFilter(lambda record: record.name != ACCESS_LOGGER)
    access_file.addFilter(lambda record: record.name == ACCESS_LOGGER)
    error_file.setLevel(logging.WARNING)
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    terminal.addFilter(_is_for_people)
    return [app_file, access_file, error_file, terminal]


def _is_for_people(record: logging.LogRecord) -> bool:
    """The terminal shows what concerns the whole server, and every warning."""
    return record.levelno >= logging.WARNING or not hasattr(record, "request_id")


def _rotating(path: Path, files: LogFiles) -> logging.Handler:
    handler = _FileHandler(
        path,
        maxBytes=files.max_bytes,
        backupCount=files.num_backups,
        encoding="utf-8",
    )
    handler.setFormatter(LineFormatter())
    return handler
