"""The figures as a picture, with matplotlib, which is an extra: `fishs2[bench]`."""

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from fishs2.bench.figures import PARTS, Part, Spread, Summary
from fishs2.bench.report import Report
from fishs2.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN, _HEIGHT_IN, _DPI = 6.0, 4.0, 120
_MAX_COLUMNS = 3


def save_plot(report: Report, path: Path) -> bool:
    """Draw what was measured into a PNG file, if matplotlib is there; returns whether it is.

    Raises UserError if the file cannot be written.
    """
    try:
        # Imported here: it is an extra, and takes a second to load. Figure, not pyplot, which
        # looks for a screen.
        from matplotlib.figure import Figure
    except ImportError:
        return False
    drawings = _drawings(report.summaries)
    num_columns = min(_MAX_COLUMNS, max(1, len(drawings)))
    num_rows = max(1, ceil(len(drawings) / num_columns))
    size_in = (_WIDTH_IN * num_columns, _HEIGHT_IN * num_rows)
    figure = Figure(figsize=size_in, dpi=_DPI, layout="constrained")
    for index, (draw, summaries) in enumerate(drawings, start=1):
        draw(figure.add_subplot(num_rows, num_columns, index), summaries)
    server = report.server
    figure.suptitle(
        f"fishs2 {server.version}, {server.engine} on {server.backend}: median, lowest and highest "
        f"of {report.plan.num_runs} runs"
    )
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", code="cannot_write") from error
    return True


_Draw = Callable[["Axes", Sequence[Summary]], None]


def _drawings(summaries: Sequence[Summary]) -> list[tuple[_Draw, list[Summary]]]:
    drawings: dict[Part, tuple[_Draw, ...]] = {
        "single": (_draw_single,),
        "sweep": (_draw_speed, _draw_percentiles),
        "length": (_draw_lengths,),
        "voices": (_draw_voices,),
    }
    by_part = {part: [s for s in summaries if s.part == part and s.speed] for part in PARTS}
    return [(draw, by_part[part]) for part in PARTS if by_part[part] for draw in drawings[part]]


def _draw_single(axes: "Axes", summaries: Sequence[Summary]) -> None:
    _draw_bars(axes, ["one stream"], [s.rtf for s in summaries])
    axes.axhline(1, color="grey", linestyle=":", label="real time")
    axes.set(title="One stream", ylabel="RTF (lower is faster)", yscale="log")
    axes.legend()


def _draw_speed(axes: "Axes", summaries: Sequence[Summary]) -> None:
    clients = [s.num_clients for s in summaries]
    _draw_line(axes, clients, [s.speed for s in summaries], "measured")
    axes.plot(clients, clients, color="grey", linestyle=":", label="all in real time")
    axes.set(title="Many clients at once", xlabel="clients", ylabel="seconds of audio per second")
    _count_axis(axes, clients)
    axes.legend()


def _draw_percentiles(axes: "Axes", summaries: Sequence[Summary]) -> None:
    clients = [s.num_clients for s in summaries]
    lines = {
        "p50": [s.first_audio_p50_s for s in summaries],
        "p95": [s.first_audio_p95_s for s in summaries],
        "p99": [s.first_audio_p99_s for s in summaries],
        "start without gaps, p95": [s.smooth_start_p95_s for s in summaries],
    }
    for name, values in lines.items():
        style = "--" if "gaps" in name else "-"
        axes.plot(clients, [1000 * (v or 0) for v in values], style, marker="o", label=name)
    axes.set(title="First audio of many clients", xlabel="clients", ylabel="ms", ylim=(0, None))
    _count_axis(axes, clients)
    axes.legend()


def _draw_lengths(axes: "Axes", summaries: Sequence[Summary]) -> None:
    num_chars = [s.num_chars for s in summaries]
    _draw_line(axes, num_chars, [_in_ms(s.first_audio_s) for s in summaries], "first audio")
    axes.set(title="First audio and length", xlabel="characters", ylabel="ms", ylim=(0, None))


def _draw_voices(axes: "Axes", summaries: Sequence[Summary]) -> None:
    _draw_bars(axes, [s.case for s in summaries], [_in_ms(s.first_audio_s) for s in summaries])
    axes.set(title="First audio and reference", ylabel="ms")


def _draw_line(
    axes: "Axes", places: Sequence[float], spreads: Sequence[Spread | None], name: str
) -> None:
    known = [(at, spread) for at, spread in zip(places, spreads, strict=True) if spread]
    axes.errorbar(
        [at for at, _ in known],
        [spread.median for _, spread in known],
        yerr=_bars([spread for _, spread in known]),
        marker="o",
        capsize=3,
        label=name,
    )


def _draw_bars(axes: "Axes", names: Sequence[str], spreads: Sequence[Spread | None]) -> None:
    known = [(name, spread) for name, spread in zip(names, spreads, strict=True) if spread]
    axes.bar(
        [name for name, _ in known],
        [spread.median for _, spread in known],
        yerr=_bars([spread for _, spread in known]),
        capsize=3,
    )


def _bars(spreads: Sequence[Spread]) -> tuple[list[float], list[float]]:
    """How far down and up from each median."""
    return [s.median - s.low for s in spreads], [s.high - s.median for s in spreads]


def _in_ms(spread: Spread | None) -> Spread | None:
    if spread is None:
        return None
    return Spread(1000 * spread.median, 1000 * spread.low, 1000 * spread.high)


def _count_axis(axes: "Axes", counts: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(num) for num in counts], minor=False)
    axes.set_ylim(bottom=0)
