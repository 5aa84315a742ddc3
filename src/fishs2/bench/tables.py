"""The figures as tables on a terminal."""

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fishs2.bench.figures import Part, Spread, Summary
from fishs2.bench.report import Report

_TITLES: dict[Part, tuple[str, str]] = {
    "single": ("One stream", "clients"),
    "sweep": ("Many clients at once", "clients"),
    "length": ("First audio against the length of the text", "characters"),
    "voices": ("Voices: sent for the first time, sent again, none", "reference"),
}

_Column = tuple[str, Callable[[Summary], str]]


def print_report(report: Report, console: Console) -> None:
    """Print everything that a reader needs to judge the figures, and the figures."""
    _print_conditions(report, console)
    for part in dict.fromkeys(summary.part for summary in report.summaries):
        console.print(_table(part, [each for each in report.summaries if each.part == part]))
    for remark in report.remarks:
        console.print(f"note: {remark}", markup=False, highlight=False)
    for line in _failure_lines(report.summaries):
        console.print(line, markup=False, highlight=False, style="red")


def _print_conditions(report: Report, console: Console) -> None:
    server, plan = report.server, report.plan
    lines = [
        f"fishs2 {server.version}, engine {server.engine} on {server.backend}, at {server.url}",
        f"streamed {plan.manner.format}, texts all different, voices {', '.join(plan.voices)}, "
        f"temperature {plan.manner.temperature:g}, seeds from {plan.seed}",
        f"{plan.num_runs} runs of {plan.num_requests} requests per client, after "
        f"{plan.num_warm_up} that do not count; median (lowest to highest run)",
        f"audio came at {_rates(report)}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _table(part: Part, summaries: Sequence[Summary]) -> Table:
    title, case_name = _TITLES[part]
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    columns = _columns(part)
    for name in (case_name, *(name for name, _ in columns)):
        table.add_column(name, justify="right", no_wrap=True)
    for summary in summaries:
        case = f"{summary.num_chars:.0f}" if part == "length" else summary.case
        table.add_row(case, *(show(summary) for _, show in columns))
    return table


def _columns(part: Part) -> list[_Column]:
    rest: list[_Column] = [
        ("audio s", lambda s: f"{s.audio_s:.1f}"),
        ("late", lambda s: f"{s.num_gaps} in {s.num_with_gaps}"),
        ("worst gap ms", lambda s: _show_ms(s.worst_gap_s)),
        ("failed", lambda s: f"{sum(s.failures.values())} of {s.num_answers}"),
    ]
    if part != "sweep":
        return [
            ("first audio ms", lambda s: _show(s.first_audio_s, 1000)),
            ("RTF", lambda s: _show(s.rtf, digits=3)),
            *rest,
        ]
    return [
        ("audio s per s", lambda s: _show(s.speed, digits=2)),
        ("first audio p50", lambda s: _show_ms(s.first_audio_p50_s)),
        ("p95", lambda s: _show_ms(s.first_audio_p95_s)),
        ("p99 ms", lambda s: _show_ms(s.first_audio_p99_s)),
        *rest,
        ("own delay ms", lambda s: _show_ms(s.own_delay_s)),
    ]


def _show(spread: Spread | None, scale: float = 1, *, digits: int | None = None) -> str:
    """A median, and in brackets what else was measured; "-" if nothing was."""
    if spread is None:
        return "-"
    shown = [_number(scale * value, digits) for value in (spread.median, spread.low, spread.high)]
    return f"{shown[0]} ({shown[1]}-{shown[2]})"


def _show_ms(seconds: float | None) -> str:
    return "-" if seconds is None else _number(1000 * seconds, None)


def _number(value: float, digits: int | None) -> str:
    if digits is None:
        digits = 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _rates(report: Report) -> str:
    rates = {rate for summary in report.summaries for rate in summary.sample_rates_hz}
    return " and ".join(f"{rate:,} Hz" for rate in sorted(rates)) or "no rate: there was none"


def _failure_lines(summaries: Sequence[Summary]) -> list[str]:
    return [
        f"failed: {num} x {what} ({summary.part}, {summary.case})"
        for summary in summaries
        for what, num in summary.failures.items()
    ]
