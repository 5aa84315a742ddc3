"""What a campaign found: figures by dialect, and whether each bar was kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.campaign.listeners import Tally
from benchmarks.campaign.troubles import Trouble
from benchmarks.campaign.watch import Sample, memory_drift, percentile

MAX_DRIFT = 0.01
DRIFT_FROM_S = 300.0
"""In less time than this, what fills once is taken for what grows."""

MAX_KEY_DELAY_S = 2.0
POOLED_FILES = 8
"""Four more connections that the database keeps ready: two files each. A leak brings more."""

_NUM_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the verdict. value: as people read it."""

    name: str
    value: str
    bar: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left when everybody has gone, and when the server has ended.

    num_reserved: characters and places that keys still hold. faults: of the server's end, if any.
    """

    num_streams: int
    num_waiting: int
    num_slots: int
    num_new_files: int
    num_reserved: int = 0
    database: str = "ok"
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """All of it. idle: the server before anybody came, and after everybody went."""

    engine: str
    seconds: float
    tally: Tally
    trouble: Trouble
    samples: Sequence[Sample]
    idle: tuple[Sample, Sample]
    rest: Rest


def judge(found: Found) -> list[Bar]:
    """Every bar with what was measured."""
    faults = found.tally.faults
    bars = [_none(f"{kind}, not provoked", faults[kind]) for kind in ("cut", "server error")]
    bars += [
        _none(kind, faults[kind])
        for kind in ("wrong audio", "other status", "repeated text", "private words", "command")
    ]
    silent = [d for d, counts in found.tally.outcomes.items() if not counts["reads"]]
    bars.append(Bar("dialects without an answer", ", ".join(silent) or "none", "none", not silent))
    return [*bars, *_judge_memory(found), *_judge_rest(found)]


def _judge_memory(found: Found) -> list[Bar]:
    before, after = found.idle
    drift, is_long = after.memory_bytes / before.memory_bytes - 1, found.seconds >= DRIFT_FROM_S
    least_s = f"{DRIFT_FROM_S / 60:.0f} minutes"
    bar = f"under {MAX_DRIFT:.0%}" if is_long else f"judged from {least_s} on"
    # Pools of threads grow until each has been needed once.
    most = max((each.num_threads for each in found.samples), default=0)
    return [
        Bar("memory when idle", f"{drift:+.2%}", bar, not is_long or drift < MAX_DRIFT),
        _at_most("open files when idle", after.num_files, before.num_files + POOLED_FILES),
        _at_most("tasks when idle", after.num_tasks, before.num_tasks),
        _at_most("threads when idle", after.num_threads, max(most, before.num_threads)),
        _at_most("processes of the engine", after.num_children, before.num_children),
    ]


def _judge_rest(found: Found) -> list[Bar]:
    rest, delays_s = found.rest, found.trouble.key_delays_s
    slowest_s = max(delays_s, default=0.0)
    return [
        _none("streams left", rest.num_streams),
        _none("requests left waiting", rest.num_waiting),
        _none("turns left at the engine", rest.num_slots),
        _none("characters left reserved", rest.num_reserved),
        _none("temporary files left", rest.num_new_files),
        Bar("database", rest.database, "ok", rest.database == "ok"),
        Bar(
            "a disabled key was let in for",
            f"{slowest_s:.2f} s at most, of {len(delays_s)}",
            f"{MAX_KEY_DELAY_S:.0f} s",
            slowest_s <= MAX_KEY_DELAY_S,
        ),
        Bar("the server's end", "; ".join(rest.faults) or "clean", "clean", not rest.faults),
    ]


def _none(name: str, value: int) -> Bar:
    return Bar(name, str(value), "0", value == 0)


def _at_most(name: str, value: int, limit: int) -> Bar:
    return Bar(name, str(value), f"at most {limit}", value <= limit)


def to_markdown(found: Found, bars: Sequence[Bar]) -> str:
    """Three tables: outcomes by dialect, what the process held, and the verdict."""
    tally = found.tally
    names = sorted({name for counts in tally.outcomes.values() for name in counts})
    lines = [
        f"Engine {found.engine}, {found.seconds:.0f} s, "
        f"{sum(c.total() for c in tally.outcomes.values())} requests, "
        f"{found.trouble.statuses.total()} attacks, {len(tally.kills_s)} kills, "
        f"{found.trouble.num_replaced} voices replaced, {found.trouble.num_commands} commands.",
        "",
        f"| dialect | {' | '.join(names)} | first audio p50, p99 |",
        "|---" * (len(names) + 2) + "|",
    ]
    for dialect, counts in sorted(tally.outcomes.items()):
        shown = " | ".join(str(counts[name]) for name in names)
        first = [1_000 * percentile(tally.first_audio_s[dialect], q) for q in (0.5, 0.99)]
        lines.append(f"| {dialect} | {shown} | {first[0]:.0f}, {first[1]:.0f} ms |")
    lines += ["", *_attack_lines(found), "", *_sample_lines(found), ""]
    lines += ["| bar | measured | must be | |", "|---|---|---|---|"]
    for bar in bars:
        lines.append(f"| {bar.name} | {bar.value} | {bar.bar} | {'ok' if bar.is_kept else 'BAD'} |")
    return "\n".join([*lines, *(f"\n{example}" for example in tally.examples)])


def _attack_lines(found: Found) -> list[str]:
    statuses = found.trouble.statuses
    counts = ", ".join(f"{statuses[s]} x {s or 'closed'}" for s in sorted(statuses))
    return [
        f"Attacks: {counts or 'none'}. Slowest that was refused: {found.trouble.slowest_s:.2f} s "
        f"({found.trouble.slowest[:100]})."
    ]


def _sample_lines(found: Found) -> list[str]:
    lines = ["| second | memory | engine's | files | threads | tasks | /health |", "|---" * 7 + "|"]
    step = max(1, len(found.samples) // _NUM_SHOWN)
    begins_s = found.samples[0].at_s if found.samples else 0.0
    lines += [
        f"| {each.at_s - begins_s:.0f} | {each.memory_bytes / 1e6:.1f} MB "
        f"| {each.children_bytes / 1e6:.1f} MB | {each.num_files} | {each.num_threads} "
        f"| {each.num_tasks} | {1_000 * each.health_s:.0f} ms |"
        for each in (*found.samples[::step], found.idle[1])
    ]
    health = [each.health_s for each in found.samples]
    p50, p99 = (1_000 * percentile(health, share) for share in (0.5, 0.99))
    at_work, idle = memory_drift(found.samples), [each.memory_bytes / 1e6 for each in found.idle]
    return [
        *lines,
        "",
        f"/health: p50 {p50:.0f} ms, p99 {p99:.0f} ms. Memory when idle: {idle[0]:.1f} MB before, "
        f"{idle[1]:.1f} MB after; at work, last tenth over second: {at_work:+.2%}.",
    ]


def to_json(found: Found, bars: Sequence[Bar]) -> str:
    """The same for programs, with every sample."""
    tally, trouble = found.tally, found.trouble
    whole: dict[str, Any] = {
        "engine": found.engine,
        "seconds": found.seconds,
        "is_good": all(bar.is_kept for bar in bars),
        "verdict": [asdict(bar) for bar in bars],
        "outcomes": {dialect: dict(counts) for dialect, counts in tally.outcomes.items()},
        "first_audio_ms": {
            dialect: {f"p{q}": round(1_000 * percentile(values, q / 100), 1) for q in (50, 99)}
            for dialect, values in tally.first_audio_s.items()
        },
        "attacks": {str(status): num for status, num in trouble.statuses.items()},
        "slowest_attack_s": trouble.slowest_s,
        "num_kills": len(tally.kills_s),
        "examples": tally.examples,
        "idle": [asdict(each) for each in found.idle],
        "samples": [asdict(each) for each in found.samples],
    }
    return json.dumps(whole, indent=2)
