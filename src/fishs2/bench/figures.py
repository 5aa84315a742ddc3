"""From raw answers to figures. Pure functions: no clock, no network, no drawing."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Literal

Part = Literal["single", "sweep", "length", "voices"]
PARTS: tuple[Part, ...] = ("single", "sweep", "length", "voices")


@dataclass(frozen=True, slots=True)
class Piece:
    """Audio that came at one moment. at_s: since the request was sent. audio_s: seconds of it."""

    at_s: float
    audio_s: float


@dataclass(frozen=True, slots=True)
class Playback:
    """What somebody hears who plays from the first piece on, and waits wherever nothing is there.

    num_gaps: pieces that came after the sound before them had ended. gaps_s: silence in all.
    smooth_start_s: since the request, the earliest start without a gap.
    """

    first_audio_s: float
    audio_s: float
    num_gaps: int
    worst_gap_s: float
    gaps_s: float
    smooth_start_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request brought no speech. status: None if there was no answer, or it broke off."""

    status: int | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. heard, sample_rate_hz: None if it failed. total_s: until the last byte, or the
    failure. at_s: when it was sent, since the measurement began.
    """

    at_s: float
    num_chars: int
    voice: str
    seed: int
    total_s: float
    heard: Playback | None = None
    sample_rate_hz: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one case. took_s: from its first request to the end of its last answer.

    case: of the part: clients of the sweep, characters, the kind of voice. own_delay_s: 99th
    percentile of how late this program itself was.
    """

    part: Part
    case: str
    num_clients: int
    run: int
    took_s: float
    own_delay_s: float
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several runs, and the lowest and highest of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of one case. Only answers that came whole count, save in `failures`.

    audio_s: in all. speed: audio seconds per second, one figure per run. first_audio_s: the median
    of each run, spread over runs. p50 to p99: of first audio, over all answers. rtf: total time
    over audio time, the median answer of each run. num_gaps, num_with_gaps: late pieces, and
    answers that have some. failures: how many of each status and code.
    """

    part: Part
    case: str
    num_clients: int
    num_runs: int
    num_answers: int
    num_chars: float
    audio_s: float
    sample_rates_hz: tuple[int, ...]
    speed: Spread | None
    rtf: Spread | None
    first_audio_s: Spread | None
    first_audio_p50_s: float | None
    first_audio_p95_s: float | None
    first_audio_p99_s: float | None
    smooth_start_p95_s: float | None
    num_gaps: int
    num_with_gaps: int
    worst_gap_s: float
    own_delay_s: float
    failures: dict[str, int]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed: always one that was measured.

    values: at least one. percent: above 0, at most 100.
    """
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def spread(values: Iterable[float]) -> Spread | None:
    """None for no values."""
    known = list(values)
    return Spread(median(known), min(known), max(known)) if known else None


def play(pieces: Sequence[Piece]) -> Playback:
    """Play pieces in the order in which they came. pieces: at least one."""
    first_audio_s = pieces[0].at_s
    heard_until_s = first_audio_s
    gaps: list[float] = []
    for piece in pieces:
        gap_s = piece.at_s - heard_until_s
        if gap_s > 0:
            gaps.append(gap_s)
        heard_until_s = max(heard_until_s, piece.at_s) + piece.audio_s
    return Playback(
        first_audio_s=first_audio_s,
        audio_s=sum(piece.audio_s for piece in pieces),
        num_gaps=len(gaps),
        worst_gap_s=max(gaps, default=0.0),
        gaps_s=sum(gaps),
        smooth_start_s=first_audio_s + sum(gaps),
    )


def summarize(measurements: Sequence[Measurement]) -> list[Summary]:
    """One summary for each case, in the order in which they were first measured."""
    order = list(dict.fromkeys((m.part, m.case) for m in measurements))
    by_case = sorted(measurements, key=lambda m: order.index((m.part, m.case)))
    groups = groupby(by_case, key=lambda m: (m.part, m.case))
    return [_summarize_case(list(runs)) for _, runs in groups]


def _summarize_case(runs: Sequence[Measurement]) -> Summary:
    answers = [answer for run in runs for answer in run.answers]
    heard = [answer.heard for answer in answers if answer.heard]
    first_audio = [each.first_audio_s for each in heard]
    by_run = [[a for a in run.answers if a.heard] for run in runs]
    return Summary(
        part=runs[0].part,
        case=runs[0].case,
        num_clients=runs[0].num_clients,
        num_runs=len(runs),
        num_answers=len(answers),
        num_chars=median(answer.num_chars for answer in answers),
        audio_s=sum(each.audio_s for each in heard),
        sample_rates_hz=tuple(sorted({a.sample_rate_hz for a in answers if a.sample_rate_hz})),
        speed=spread(_speed(run) for run in runs if any(a.heard for a in run.answers)),
        rtf=spread(median(map(_rtf, whole)) for whole in by_run if whole),
        first_audio_s=spread(median(map(_first_audio, whole)) for whole in by_run if whole),
        first_audio_p50_s=percentile(first_audio, 50) if heard else None,
        first_audio_p95_s=percentile(first_audio, 95) if heard else None,
        first_audio_p99_s=percentile(first_audio, 99) if heard else None,
        smooth_start_p95_s=percentile([e.smooth_start_s for e in heard], 95) if heard else None,
        num_gaps=sum(each.num_gaps for each in heard),
        num_with_gaps=sum(each.num_gaps > 0 for each in heard),
        worst_gap_s=max((each.worst_gap_s for each in heard), default=0.0),
        own_delay_s=max(run.own_delay_s for run in runs),
        failures=dict(Counter(describe_failure(a.failure) for a in answers if a.failure)),
    )


def describe_failure(failure: Failure) -> str:
    """Status and code, by which failures are counted."""
    return f"{failure.status} {failure.code}" if failure.status else failure.code


def _speed(run: Measurement) -> float:
    return sum(answer.heard.audio_s for answer in run.answers if answer.heard) / run.took_s


def _rtf(answer: Answer) -> float:
    assert answer.heard is not None
    return answer.total_s / answer.heard.audio_s


def _first_audio(answer: Answer) -> float:
    assert answer.heard is not None
    return answer.heard.first_audio_s
