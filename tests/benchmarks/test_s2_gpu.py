"""The script for the first hour on a card goes through all its motions here."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.make_model import sizes
from benchmarks.random_model import Width, frame_bytes, make_random_model
from benchmarks.report import Report
from benchmarks.s2_gpu import main
from fishs2.engines.s2.model.codec import decode_frames
from fishs2.engines.s2.model.linear import QuantLinear

CPU = torch.device("cpu")


@pytest.mark.slow
def test_dry_run_measures_every_section_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["s2_gpu", "--dry-run", "--widths", "bf16", "--output", str(tmp_path)]
    )

    main()

    figures = json.loads((tmp_path / "s2_gpu.json").read_text(encoding="utf-8"))
    assert len(figures) == 9
    assert all(found and "failed" not in found for found in figures.values()), figures
    assert "ARs, 2 rows, ms per step" in figures["bf16: steps"]
    assert "everything, RTF" in figures["bf16: one stream"]
    assert "2 streams: late chunks, share" in figures["bf16: many streams"]


def test_section_that_fails_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(budget_s=60)

    report.section("bad", lambda: iter([("one", 1.0), ("two", 1 / int("0"))]))
    report.section("good", lambda: iter([("three", 3.0)]))

    assert report.figures["bad"] == {"failed": "ZeroDivisionError: division by zero"}
    assert report.figures["good"] == {"three": 3.0}
    assert "FAILED: ZeroDivisionError" in capsys.readouterr().out


def test_what_was_measured_is_written_before_a_run_is_ended(tmp_path: Path) -> None:
    report = Report(60, tmp_path / "figures.json")
    report.section("good", lambda: iter([("one", 1.0)]))

    def is_ended() -> Iterator[tuple[str, float | str]]:
        yield "two", 2.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.section("cut", is_ended)

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == {"good": {"one": 1.0}, "cut": {"two": 2.0}}


@pytest.mark.parametrize("width", ["bf16", "q8_0", "q4_0"])
def test_codec_of_a_random_model_is_dense_float32_whatever_the_ars_are(
    width: Width,
) -> None:
    model = make_random_model(sizes()["tiny"], width, CPU, dtype=torch.bfloat16)
    frames = torch.zeros((model.codec.config.num_codebooks, 2), dtype=torch.int64)

    with torch.inference_mode():
        pcm = decode_frames(model.codec, frames)

    assert pcm.dtype == torch.float32
    assert pcm.isfinite().all()
    assert {each.dtype for each in model.codec.parameters()} == {torch.float32}
    assert not any(isinstance(each, QuantLinear) for each in model.codec.modules())


def test_no_section_begins_when_the_time_is_over() -> None:
    report = Report(budget_s=-1)

    report.section("late", lambda: iter([("one", 1.0)]))

    assert report.figures["late"] == {"not measured": "no time was left"}


@pytest.mark.parametrize(("width", "size"), [("bf16", 4.0), ("q8_0", 1.0625), ("q4_0", 0.625)])
def test_bytes_of_a_frame_are_those_of_the_passes_over_the_weights(
    width: Width, size: float
) -> None:
    model = make_random_model(sizes()["tiny"], width, CPU)
    layer = 256 * (256 + 2 * 128) + 256 * 512 + 3 * 256 * 512  # wqkv of 8 and 2 heads of 64, wo
    head, codes = 1025 * 256 * 4, 1024 * 256

    expected = 2 * layer * size + head + 9 * (layer + codes) * size

    assert frame_bytes(model) == pytest.approx(expected, rel=0.1)
