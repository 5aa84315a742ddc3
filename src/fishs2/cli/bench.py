"""`fishs2 bench`: measure a server from outside."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from rich.console import Console

from fishs2.bench.figures import PARTS, Part
from fishs2.bench.listening import AudioFormat, Manner, Server
from fishs2.bench.own_server import own_server
from fishs2.bench.parts import Findings, Plan, measure
from fishs2.bench.plot import save_plot
from fishs2.bench.report import ask_server, describe_machine, make_report, save
from fishs2.bench.tables import print_report
from fishs2.bench.voices import STORED
from fishs2.bootstrap.plan import plan_here
from fishs2.errors import FlagError
from fishs2.settings import load_settings

_DEFAULT_URL = "http://127.0.0.1:8020"
_TABLE_CHARS = 132
"""A narrower terminal wraps the lines; figures that are cut short would be worse."""

Url = Annotated[str | None, typer.Option(help=f"Server to measure.  [default: {_DEFAULT_URL}]")]
Key = Annotated[str | None, typer.Option(help="Key of that server; no file shows it.")]
Engine = Annotated[
    Literal["auto", "builtin", "s2", "s2cpp"] | None,
    typer.Option(help="Start a server of the benchmark's own with this engine, and measure that."),
]
Model = Annotated[Path | None, typer.Option(help="The same, with this model (FISHS2_MODEL_PATH).")]
Backend = Annotated[str | None, typer.Option(help="The same (FISHS2_BACKEND).")]
Quant = Annotated[str | None, typer.Option(help="The same (FISHS2_MODEL_QUANT).")]
Only = Annotated[
    list[str] | None, typer.Option(help=f"Part to measure; repeatable: {', '.join(PARTS)}.")
]
MaxClients = Annotated[int, typer.Option(min=1, max=1024, help="Where the sweep ends.")]
Requests = Annotated[int, typer.Option(min=1, help="Requests of each client in each run.")]
Runs = Annotated[int, typer.Option(min=1, help="How often everything is measured.")]
WarmUp = Annotated[int, typer.Option(min=1, help="Requests at the beginning that do not count.")]
Chars = Annotated[int, typer.Option(min=25, max=10_000, help="Characters of a text.")]
Voices = Annotated[
    list[str] | None,
    typer.Option("--voice", help="Stored voices, in turn; repeatable.  [default: the samples]"),
]
Frames = Annotated[
    int | None, typer.Option(min=1, max=8192, help="s2: longest utterance, in frames of 46 ms.")
]
Format = Annotated[AudioFormat, typer.Option(help="pcm has no header and comes at 44,100 Hz.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of JSON and plot.")]


def bench(  # a flag of the command is a parameter here; typer knows no other form
    url: Url = None,
    key: Key = None,
    engine: Engine = None,
    model: Model = None,
    backend: Backend = None,
    model_quant: Quant = None,
    only: Only = None,
    max_clients: MaxClients = 8,
    requests: Requests = 4,
    runs: Runs = 3,
    warm_up: WarmUp = 2,
    chars: Chars = 200,
    voice: Voices = None,
    max_new_tokens: Frames = None,
    format: Format = "wav",
    seed: Annotated[int, typer.Option(min=0, help="Of texts and of the sampling.")] = 1,
    output: Output = Path("bench"),
) -> None:
    """Measure a server: one stream, many clients, long texts, voices. See docs/benchmarks.md."""
    flags = {
        "engine": engine,
        "model_path": str(model.absolute()) if model else None,
        "backend": backend,
        "model_quant": model_quant,
    }
    plan = Plan(
        parts=_parts(only or []),
        manner=Manner(format=format, max_new_tokens=max_new_tokens),
        voices=tuple(voice or STORED),
        max_clients=max_clients,
        num_requests=requests,
        num_runs=runs,
        num_chars=chars,
        num_warm_up=warm_up,
        seed=seed,
    )
    if any(flags.values()):
        _refuse_url(url, key)
        plan_here(load_settings(**flags))  # what is wrong is refused here, not by another process
        findings = _measure_own(flags, plan, output, has_own_voices=not voice)
    else:
        findings = _measure(Server(url or _DEFAULT_URL, key), plan, output, is_own=False)
    if findings.num_failures:
        raise typer.Exit(1)


def _parts(only: list[str]) -> tuple[Part, ...]:
    unknown = sorted(set(only) - set(PARTS))
    if unknown:
        raise typer.BadParameter(
            f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}",
            param_hint="--only",
        )
    return tuple(part for part in PARTS if part in (only or PARTS))


def _measure_own(
    flags: dict[str, str | None], plan: Plan, output: Path, *, has_own_voices: bool
) -> Findings:
    with ExitStack() as stack:
        stack.enter_context(_ending_with_us())
        with Console(stderr=True).status("") as status:
            url = stack.enter_context(
                own_server(flags, has_own_voices=has_own_voices, on_progress=status.update)
            )
        return _measure(Server(url), plan, output, is_own=True)


def _measure(server: Server, plan: Plan, output: Path, *, is_own: bool) -> Findings:
    machine = describe_machine()
    facts = asyncio.run(ask_server(server, is_own=is_own))
    with Console(stderr=True).status("") as status:
        findings = asyncio.run(measure(server, plan, status.update))
    report = make_report(machine, facts, plan, findings, sys.argv)
    print_report(report, Console(width=max(_TABLE_CHARS, Console().width)))
    file = save(report, output)
    typer.echo(f"figures: {file}")
    picture = file.with_suffix(".png")
    if save_plot(report, picture):
        typer.echo(f"plot: {picture}")
    else:
        typer.echo("no plot: matplotlib is not installed; pip install 'fishs2[bench]' adds it")
    return findings


def _refuse_url(url: str | None, key: str | None) -> None:
    if url or key:
        raise FlagError(
            "--url and --key are for a server that runs; --engine, --model, --backend and "
            "--model-quant start one: give one or the other"
        )


@contextmanager
def _ending_with_us() -> Iterator[None]:
    """Make SIGTERM end us as Ctrl-C does, so that a server of our own is ended too."""

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
