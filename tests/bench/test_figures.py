"""The arithmetic of the benchmark, on answers whose figures are known by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.bench.figures import (
    Answer,
    Failure,
    Measurement,
    Piece,
    Playback,
    Spread,
    percentile,
    play,
    summarize,
)

SECONDS = st.floats(0, 10, allow_nan=False)


def test_sound_that_is_always_early_has_no_gaps() -> None:
    heard = play([Piece(0.2, 0.1), Piece(0.25, 0.3), Piece(0.6, 0.5)])

    assert heard.audio_s == pytest.approx(0.9)
    assert replace(heard, audio_s=0.9) == Playback(0.2, 0.9, 0, 0.0, 0.0, 0.2)


def test_late_pieces_are_gaps_and_playback_goes_on_after_each() -> None:
    # Heard from 0.1 to 0.2; 0.3 late. Heard from 0.5 to 0.6; 0.1 late. Heard from 0.7 to 1.7.
    heard = play([Piece(0.1, 0.1), Piece(0.5, 0.1), Piece(0.7, 0.5), Piece(0.9, 0.5)])

    assert (heard.num_gaps, heard.first_audio_s) == (2, 0.1)
    assert heard.worst_gap_s == pytest.approx(0.3)
    assert heard.gaps_s == pytest.approx(0.4)
    assert heard.smooth_start_s == pytest.approx(0.5)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1))
def test_who_starts_at_the_smooth_start_has_no_gap_and_not_earlier(
    arrivals: list[tuple[float, float]],
) -> None:
    times = sorted(at_s for at_s, _ in arrivals)
    pieces = [Piece(at_s, audio_s) for at_s, (_, audio_s) in zip(times, arrivals, strict=True)]
    heard_before = [sum(p.audio_s for p in pieces[:index]) for index in range(len(pieces))]
    needed_s = max(p.at_s - before for p, before in zip(pieces, heard_before, strict=True))

    assert play(pieces).smooth_start_s == pytest.approx(needed_s)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]

    assert [percentile(values, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0, 1.0, 2.0], 50) == 2
    assert percentile([1.0, 2.0, 9.0], 95) == 9
    assert percentile([7.0], 0.1) == 7


@given(st.lists(SECONDS, min_size=1), st.floats(0.1, 100))
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[float], percent: float
) -> None:
    found = percentile(values, percent)

    assert 100 * sum(v <= found for v in values) >= percent * len(values) * (1 - 1e-12)
    assert 100 * sum(v < found for v in values) < percent * len(values)


def answer(first_s: float, total_s: float, audio_s: float, *, gap_s: float = 0.0) -> Answer:
    heard = Playback(first_s, audio_s, int(gap_s > 0), gap_s, gap_s, first_s + gap_s)
    return Answer(0.0, 200, "voice", 1, total_s, heard, 44_100)


def refused(status: int | None = 429, code: str = "server_busy") -> Answer:
    return Answer(0.0, 200, "voice", 1, 0.001, failure=Failure(status, code, "busy"))


def run_of(number: int, took_s: float, *answers: Answer) -> Measurement:
    return Measurement("sweep", "4", 4, number, took_s, 0.001 * number, answers)


def test_speed_is_audio_of_all_over_the_time_from_first_to_last() -> None:
    runs = [
        run_of(1, 4.0, answer(0.125, 2, 4), answer(0.25, 4, 8)),
        run_of(2, 2.0, answer(0.25, 2, 4), answer(0.5, 2, 4)),
        run_of(3, 1.0, answer(0.25, 1, 1)),
    ]

    (summary,) = summarize(runs)

    assert summary.speed == Spread(3.0, 1.0, 4.0)
    assert summary.rtf == Spread(0.5, 0.5, 1.0)
    assert summary.first_audio_s == Spread(0.25, 0.1875, 0.375)
    assert (summary.first_audio_p50_s, summary.first_audio_p99_s) == (0.25, 0.5)
    assert (summary.num_runs, summary.num_answers, summary.audio_s) == (3, 5, 21)
    assert summary.own_delay_s == 0.003


def test_failures_are_counted_and_touch_no_other_figure() -> None:
    whole = [answer(0.1, 1, 2, gap_s=0.25), answer(0.2, 1, 2)]

    (alone,) = summarize([run_of(1, 2.0, *whole)])
    (mixed,) = summarize([run_of(1, 2.0, *whole, refused(), refused(), refused(None, "no_answer"))])

    assert mixed.failures == {"429 server_busy": 2, "no_answer": 1}
    assert (mixed.num_answers, alone.num_answers) == (5, 2)
    assert (mixed.speed, mixed.rtf, mixed.audio_s) == (alone.speed, alone.rtf, alone.audio_s)
    assert mixed.first_audio_p99_s == alone.first_audio_p99_s
    assert (mixed.num_gaps, mixed.num_with_gaps, mixed.worst_gap_s) == (1, 1, 0.25)


def test_case_in_which_all_failed_has_no_figures_rather_than_zeros() -> None:
    (summary,) = summarize([run_of(1, 0.1, refused(), refused())])

    assert (summary.speed, summary.rtf, summary.first_audio_s) == (None, None, None)
    assert summary.first_audio_p50_s is None
    assert summary.failures == {"429 server_busy": 2}


def test_cases_keep_the_order_in_which_they_were_measured() -> None:
    def one(case: str, run: int) -> Measurement:
        return Measurement("length", case, 1, run, 1.0, 0.0, (answer(0.1, 1, 1),))

    summaries = summarize([one("400", 1), one("25", 1), one("400", 2), one("25", 2)])

    assert [(s.case, s.num_runs) for s in summaries] == [("400", 2), ("25", 2)]
