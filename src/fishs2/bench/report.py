"""What is kept of a benchmark: one JSON file that says how every figure came about.

docs/benchmarks.md describes its fields; `SCHEMA` counts up when one changes its meaning.
"""

import json
import os
import platform
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from fishs2 import __version__
from fishs2.advice import start_server
from fishs2.bench.figures import Measurement, Summary, summarize
from fishs2.bench.listening import Server, describe_refusal
from fishs2.bench.parts import Findings, Plan
from fishs2.bootstrap.hardware import Gpu, find_nvidia_gpus
from fishs2.errors import UserError

SCHEMA = 1
_SECRET_FLAG = "--key"
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the benchmark ran, and with it a server of its own. load: of the last minute, before.

    memory_bytes, load: None where the system does not say.
    """

    system: str
    processor: str
    num_cores: int
    memory_bytes: int | None
    gpus: tuple[Gpu, ...]
    python: str
    fishs2: str
    torch: str | None
    load: float | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server says of itself. is_own: started for this benchmark."""

    url: str
    is_own: bool
    version: str
    engine: str
    backend: str


@dataclass(frozen=True, slots=True)
class Report:
    """The JSON file, field by field."""

    schema: int
    made_at: str
    command: tuple[str, ...]
    machine: Machine
    server: ServerFacts
    plan: Plan
    remarks: tuple[str, ...]
    summaries: tuple[Summary, ...]
    measurements: tuple[Measurement, ...]


def make_report(
    machine: Machine, server: ServerFacts, plan: Plan, findings: Findings, command: Sequence[str]
) -> Report:
    """Put together what was measured. command: as it was typed; keys in it are left out."""
    return Report(
        schema=SCHEMA,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(hide_keys(command)),
        machine=machine,
        server=server,
        plan=plan,
        remarks=tuple(findings.remarks),
        summaries=tuple(summarize(findings.measurements)),
        measurements=tuple(findings.measurements),
    )


def describe_machine() -> Machine:
    """Look at this machine; before measuring, as it takes what nvidia-smi takes."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = None
    return Machine(
        system=platform.platform(),
        processor=_processor(),
        num_cores=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        gpus=tuple(find_nvidia_gpus()),
        python=platform.python_version(),
        fishs2=__version__,
        torch=torch,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


async def ask_server(server: Server, *, is_own: bool) -> ServerFacts:
    """Ask a server who it is. Raises UserError if there is none, or it is none of ours."""
    async with server.connect(1) as client:
        try:
            answer = await client.get("/health")
        except httpx2.ConnectError:
            raise _no_server(
                server,
                f"nobody listens there; start it with `{start_server()}`, or measure a server "
                "of the benchmark's own with --engine",
            ) from None
        except httpx2.TransportError as error:
            raise _no_server(server, f"it does not answer: {type(error).__name__}") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError):
            raise _no_server(server, "this is no http:// or https:// address") from None
    return _read_health(server, answer, is_own=is_own)


def save(report: Report, folder: Path) -> Path:
    """Write the report into `folder`; returns the file. Raises UserError."""
    stamp = report.made_at[:19].replace(":", "").replace("-", "").replace("T", "-")
    path = folder / f"{report.server.engine}-{stamp}-{secrets.token_hex(2)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write into {folder}: {error.strerror}; choose another folder with --output",
            code="cannot_write",
        ) from error
    return path


def hide_keys(command: Sequence[str]) -> list[str]:
    """The command line without keys and passwords."""
    shown = []
    for before, word in zip(("", *command), command, strict=False):
        if before == _SECRET_FLAG:
            word = _HIDDEN
        elif word.startswith(f"{_SECRET_FLAG}="):
            word = f"{_SECRET_FLAG}={_HIDDEN}"
        shown.append(hide_password(word) if "://" in word else word)
    return shown


def hide_password(url: str) -> str:
    """The address without what stands before its host."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _read_health(server: Server, answer: httpx2.Response, *, is_own: bool) -> ServerFacts:
    try:
        health: dict[str, Any] = answer.json()
        is_ready, engine = health["ready"], health["engine"]
        error, backend, its_version = health["engine_error"], health["backend"], health["version"]
    except (ValueError, KeyError, TypeError):
        status = describe_refusal(answer).status
        raise _no_server(server, f"/health answers {status}, and not as fishs2 does") from None
    if not is_ready:
        raise _no_server(server, error or "its engine has not started yet; try again")
    return ServerFacts(hide_password(server.url), is_own, str(its_version), engine, backend)


def _no_server(server: Server, reason: str) -> UserError:
    return UserError(
        f"there is no server to measure at {hide_password(server.url)}: {reason}",
        code="bench_failed",
    )


def _processor() -> str:
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            lines = []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
