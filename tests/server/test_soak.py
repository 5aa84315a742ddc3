"""Many clients of all kinds on the s2 engine, most of whom leave: nothing is left of them.

The benchmark of the same name does it a thousand times, with a server process of its own.
"""

import asyncio
import gc
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from benchmarks.soak import store_voices, wait_until_idle
from benchmarks.soak_clients import ENDINGS, hear_alone, make_kinds, soak
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine.core import Limits
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.plan import SpeechPlan
from tests.engines.s2.golden import MODEL_FILES
from tests.serving import serving, until

NUM_REQUESTS = 48


async def test_clients_that_leave_at_random_leave_nothing_behind_and_change_nobodys_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = Limits(num_slots=4, max_positions=768, piece_tokens=32, step_tokens=32)
    engine = S2Engine(MODEL_FILES, Precision(), choose_limits=lambda _: limits)
    process = psutil.Process()
    async with serving(engine) as served:
        voices = await asyncio.to_thread(store_voices, served.url)
        kinds = make_kinds(voices, num=12, seed=3, max_frames=6)
        alone = await hear_alone(served.url, kinds)
        await wait_until_idle(served.url)
        num_tasks = len(asyncio.all_tasks())
        files = files_in(tmp_path)
        num_files = process.num_fds()
        # Tests that failed keep what was in their hands.
        num_kept = count_kept()

        tally = await soak(
            served.url, kinds, alone, num_requests=NUM_REQUESTS, num_at_once=16, seed=5
        )

        metrics = await wait_until_idle(served.url)
        await until(lambda: len(asyncio.all_tasks()) <= num_tasks)
        await until(lambda: process.num_fds() <= num_files)
        kept = count_kept()
        assert tally.wrong == []
        assert tally.outcomes.total() == NUM_REQUESTS
        assert set(tally.outcomes) == set(ENDINGS)
        assert {heard.status for heard in alone} == {200, 404}
        assert kept == num_kept
        assert files_in(tmp_path) - files == set()
        assert metrics["fishs2_engine_restarts_total"] == 0
        assert metrics['fishs2_requests_total{dialect="openai",outcome="aborted"}'] > 5
        assert not [name for name in metrics if 'outcome="failed"' in name]
        # Its thread checks its own books whenever nobody is left: a wrong one is a restart.
        assert engine.stats().num_running == 0
    # Closing has checked that every turn was given back.
    assert not [t.name for t in threading.enumerate() if t.name.startswith("fishs2")]


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def count_kept() -> int:
    gc.collect()
    return sum(type(each) in _OF_REQUESTS for each in gc.get_objects())


_OF_REQUESTS = (UtteranceState, UtteranceFeed, SpeechPlan)
"""Whatever keeps one of these keeps a request."""
