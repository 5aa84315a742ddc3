"""The server of a campaign: a process with a folder of its own, and `fishs2` beside it."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.campaign.calls import Engine
from benchmarks.make_model import make_model, sizes
from benchmarks.soak import s2_environment
from tests.serving import running_server


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs. environment: of it, and of every command beside it."""

    url: str
    process: psutil.Process
    folder: Path
    environment: Mapping[str, str]

    async def run_command(self, *arguments: str) -> str:
        """Run `fishs2` beside the server; returns what it prints. Raises CommandError."""
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fishs2", *arguments),
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complained = await command.communicate()
        finally:
            if command.returncode is None:
                command.kill()
                await command.wait()
        if command.returncode != 0 or b"Traceback" in complained:
            raise CommandError(f"fishs2 {arguments[0]}: {complained.decode(errors='replace')}")
        return said.decode()

    async def make_key(self, name: str) -> str:
        """The token of a new key."""
        scopes = ("--scope", "speech", "--scope", "voices:write", "--scope", "admin")
        return (await self.run_command("keys", "create", name, *scopes)).strip()

    def check_database(self) -> tuple[str, int]:
        """`ok`, or what SQLite finds wrong; and what keys still hold: characters and places."""
        with closing(sqlite3.connect(self.folder / "data" / "fishs2.db")) as connection:
            [found] = connection.execute("PRAGMA integrity_check").fetchone()
            [num_held] = connection.execute(
                "SELECT sum(reserved) + sum(active) FROM keys"
            ).fetchone()
        return str(found), int(num_held)

    def living_children(self) -> list[psutil.Process]:
        """The processes of its engine that live."""
        return [
            child
            for child in self.process.children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE
        ]


class CommandError(Exception):
    """A command beside the server failed."""


@contextmanager
def run_server(folder: Path, engine: Engine) -> Iterator[Server]:
    """A server with its files in `folder/server`. Raises AssertionError if it ends in a defect."""
    home = folder / "server"
    (home / "tmp").mkdir(parents=True)
    environment = {
        "FISHS2_HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "FISHS2_ENGINE": "builtin",
        "FISHS2_LOG_BACKUP_COUNT": "50",
    }
    if engine == "s2-tiny":
        model = folder / "model"
        make_model(model, sizes()["tiny"], "Q8_0")
        environment |= s2_environment(model) | {
            "FISHS2_ENGINE_PROCESS": "true",
            # Random weights may end before they have begun, or never; not all clients can say so.
            "FISHS2_MIN_TOKENS_BEFORE_END": "4",
            "FISHS2_MAX_NEW_TOKENS": "16",
            "FISHS2_RUNAWAY_GUARD": "false",
        }
    with running_server(home, arguments=("serve",), wait_for_engine=True, **environment) as (
        url,
        process,
    ):
        yield Server(url, psutil.Process(process.pid), home, environment)
    # A shell's way to say that SIGTERM was heeded.
    assert process.returncode in (0, -signal.SIGTERM, 143), f"it ended with {process.returncode}"
