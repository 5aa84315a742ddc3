"""Commands in this process, judged as those of a person: a new process takes a second to load."""

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from fishs2.cli.main import main


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, *arguments: str, **env: str) -> Done:
    """Run `fishs2` as in `folder`, with nothing on its standard input."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FISHS2_")}
    stdout, stderr = io.StringIO(), io.StringIO()
    status: str | int | None = 0
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, {**clean, "FISHS2_HOME": str(folder), **env}, clear=True),
        mock.patch.object(sys, "argv", ["fishs2", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code
    return Done(int(status or 0), stdout.getvalue(), stderr.getvalue())
