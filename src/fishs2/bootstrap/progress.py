"""How a download shows: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_LINE_EVERY_S = 10.0


class Progress:
    """Tells a person on stderr what is going on."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)

    @contextmanager
    def transfer(self, label: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        """Show a transfer; the yielded function takes the bytes that came. total: None if unknown.

        done: bytes that are there already.
        """
        show = self._bar if self._stream.isatty() else self._lines
        with show(label, total, done) as advance:
            yield advance

    @contextmanager
    def _bar(self, label: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        # Imported here: it takes longer to load than most starts need in all.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn(label),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=Console(file=self._stream)) as bar:
            task = bar.add_task("", total=total, completed=done)
            yield lambda num_bytes: bar.advance(task, num_bytes)

    @contextmanager
    def _lines(self, label: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        started_s = shown_s = time.monotonic()
        received = done

        def show(now_s: float) -> None:
            speed = (received - done) / max(now_s - started_s, 1e-3)
            share = f" of {total / 1e6:,.0f} MB, {received / total:.0%}" if total else " MB"
            left = f", {(total - received) / speed:.0f} s left" if total and speed else ""
            self.say(f"{label}: {received / 1e6:,.0f}{share}, {speed / 1e6:.1f} MB/s{left}")

        def advance(num_bytes: int) -> None:
            nonlocal received, shown_s
            received += num_bytes
            if (now_s := time.monotonic()) - shown_s >= _LINE_EVERY_S:
                shown_s = now_s
                show(now_s)

        try:
            yield advance
        finally:
            show(time.monotonic())
