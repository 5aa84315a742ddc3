"""Numbers for operators, as Prometheus reads them. One registry per server; nothing is global."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from fishs2.engines.base import EngineStats
from fishs2.service.speech.report import SpeechReport

_FIRST_AUDIO_S = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_RTF = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9, 1.5, 5, 20)
_RTF_SHARE = 0.1
"""Weight of the newest request in the running RTF."""


@dataclass(frozen=True, slots=True)
class Load:
    """What goes on at this moment. num_streams: requests in progress; num_queued: waiting.

    num_tasks: of the event loop, with those that wait; what forgets to end one makes them grow.
    num_decoder_restarts: since the start.
    """

    num_streams: int
    num_queued: int
    num_tasks: int
    is_ready: bool
    engine: EngineStats | None
    num_decoder_restarts: int


class Metrics:
    """Counts what was spoken; asks `read_load` for the rest when it is read. For one event loop."""

    def __init__(self, read_load: Callable[[], Load]) -> None:
        self.rtf: float | None = None
        """Compute time over audio time of recent requests, a running mean."""
        # The library has one switch for the whole process: no twin of each number says since when.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "fishs2_requests", "Speech requests that ended.", ("dialect", "outcome")
        )
        self._chars = self._counter("fishs2_characters", "Characters of their texts.", ("dialect",))
        self._audio_s = self._counter("fishs2_audio_seconds", "Seconds of speech.", ("dialect",))
        self._rerolls = self._counter(
            "fishs2_rerolls",
            "Utterances spoken again: speech ran away, had no sound, or its process was lost.",
            ("dialect",),
        )
        self._verdicts = self._counter(
            "fishs2_verify", "Utterances that were heard again.", ("dialect", "outcome")
        )
        self._first_audio_s = Histogram(
            "fishs2_first_audio_seconds",
            "From a request to its first encoded bytes.",
            buckets=_FIRST_AUDIO_S,
            registry=self._registry,
        )
        self._rtf = Histogram(
            "fishs2_rtf",
            "Time from a request to its end over its audio time.",
            buckets=_RTF,
            registry=self._registry,
        )
        self._registry.register(_LoadCollector(read_load))
        ProcessCollector(registry=self._registry)

    def note_speech(self, report: SpeechReport) -> None:
        """Count a speech that has ended."""
        dialect = report.request.dialect
        self._requests.labels(dialect, report.outcome).inc()
        self._chars.labels(dialect).inc(report.num_chars)
        self._audio_s.labels(dialect).inc(report.audio_s)
        self._rerolls.labels(dialect).inc(report.num_rerolls)
        for verdict in report.verdicts:
            self._verdicts.labels(dialect, verdict.outcome).inc()
        if report.is_live:
            return
        if report.first_audio_s is not None:
            self._first_audio_s.observe(report.first_audio_s)
        if report.outcome == "finished" and report.audio_s:
            rtf = report.seconds / report.audio_s
            self._rtf.observe(rtf)
            before = rtf if self.rtf is None else self.rtf
            self.rtf = before + _RTF_SHARE * (rtf - before)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)


class _LoadCollector:
    """What is true at the moment it is asked."""

    def __init__(self, read_load: Callable[[], Load]) -> None:
        self._read_load = read_load

    def collect(self) -> Iterator[Metric]:
        load = self._read_load()
        yield GaugeMetricFamily("fishs2_streams", "Requests in progress.", load.num_streams)
        yield GaugeMetricFamily("fishs2_queued", "Requests that wait.", load.num_queued)
        yield GaugeMetricFamily("fishs2_tasks", "Tasks of the event loop.", load.num_tasks)
        yield GaugeMetricFamily("fishs2_ready", "Whether the engine can speak.", load.is_ready)
        yield CounterMetricFamily(
            "fishs2_decoder_restarts",
            "Processes that decode uploads and were lost: a file crashed one, or took too much.",
            load.num_decoder_restarts,
        )
        if load.engine is not None:
            yield from _engine_metrics(load.engine)


def _engine_metrics(engine: EngineStats) -> Iterator[Metric]:
    gauges: dict[str, tuple[str, float]] = {
        "slots": ("Utterances that the engine can speak at once.", engine.num_slots),
        "active_slots": ("Utterances that it speaks.", engine.num_running),
        "loaded": ("Whether its model is in memory.", engine.is_loaded),
        "cache_bytes": ("Memory of its caches and of voices.", engine.cache_bytes),
    }
    counters: dict[str, tuple[str, float]] = {
        "steps": ("Steps: one frame for everybody.", engine.num_steps),
        "step_seconds": ("Time in steps.", engine.step_s),
        "prefill_tokens": ("Columns of prompts that were read.", engine.num_prefilled),
        "frames": ("Frames that were drawn.", engine.num_frames),
        "voice_cache_hits": ("Utterances whose voice was ready.", engine.num_voice_hits),
        "voice_cache_misses": ("Utterances whose voice was not.", engine.num_voice_misses),
        "runaways": ("Utterances whose speech ran away.", engine.num_runaways),
        "restarts": (
            "Times the engine began anew: a failed step, or a lost process.",
            engine.num_restarts,
        ),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"fishs2_engine_{name}", text, value)
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(f"fishs2_engine_{name}", text, value)
