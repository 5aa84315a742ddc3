"""Figures by section, printed as they come and written as they are."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Report:
    """Figures by section and name; everything is printed at once.

    path: written anew after every section, so that a run that is ended leaves what it found.
    """

    budget_s: float
    path: Path | None = None
    started_s: float = field(default_factory=time.perf_counter)
    figures: dict[str, dict[str, float | str]] = field(default_factory=dict)

    def section(self, name: str, measure: Callable[[], Iterator[tuple[str, float | str]]]) -> None:
        """Measure, if there is time; a failure is one more line."""
        try:
            self._measure(name, measure)
        finally:
            if self.path is not None:
                self.path.write_text(json.dumps(self.figures, indent=2), encoding="utf-8")

    def _measure(self, name: str, measure: Callable[[], Iterator[tuple[str, float | str]]]) -> None:
        found = self.figures.setdefault(name, {})
        used_s = time.perf_counter() - self.started_s
        print(f"\n{name}  [{used_s:.0f} s]", flush=True)
        if used_s > self.budget_s:
            found["not measured"] = "no time was left"
            print("  no time is left", flush=True)
            return
        try:
            for label, value in measure():
                found[label] = value
                shown = value if isinstance(value, str) else f"{value:12.3f}"
                print(f"  {label:<58} {shown}", flush=True)
        except Exception as error:  # noqa: BLE001 - see below
            # Out of memory, a missing library: the other figures are still worth having.
            found["failed"] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            print(f"  FAILED: {found['failed']}", flush=True)
            traceback.print_exc(file=sys.stdout)
