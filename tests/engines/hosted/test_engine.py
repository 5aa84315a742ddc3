"""An engine in a child process: speech, errors, deaths, and what is left behind."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import pytest_asyncio

from fishs2 import errors as errors_module
from fishs2.engines.base import Part, Reference, Sampling, Utterance
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.messages import Recipe
from fishs2.engines.hosted.watch import HostLimits
from fishs2.errors import (
    EngineError,
    EngineLostError,
    EngineUnavailableError,
    Fishs2Error,
    NotFoundError,
    SettingsError,
    UserError,
)
from tests.engines.hosted.recipes import FORKED_S, recipe
from tests.fakes import fake_speech
from tests.feeding import hear
from tests.serving import PATIENCE_S, until

TEXT = "One sentence of ordinary length, which is spoken in more than one chunk of audio."
QUICK = HostLimits(
    ping_s=0.02, silence_s=200, stall_s=200, abort_s=200, close_s=200, pause_s=0.01, open_s=0.05
)
HASTY = replace(QUICK, silence_s=0.5, stall_s=0.8, abort_s=0.3, close_s=5)
"""For those who wait until a limit is passed; a busy machine may pass them by itself."""


# One event loop, and one engine that outlives its children: starting a child takes 0.3 s.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HostedEngine]:
    """An engine that has been through all the tests before."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "marks").mkdir()
    made = make(folder)
    await made.start()
    yield made
    await made.close()
    assert list((folder / "temp").iterdir()) == []


@pytest_asyncio.fixture(loop_scope="module")
async def hasty(tmp_path: Path) -> AsyncIterator[HostedEngine]:
    """An engine whose child is lost soon."""
    made = HostedEngine(recipe(), limits=HASTY, temp_dir=tmp_path)
    await made.start()
    yield made
    await made.close()


def make(folder: Path, function: str = "make_engine", **arguments: object) -> HostedEngine:
    if not arguments:
        arguments = {"marks": str(folder / "marks")}
    made = recipe(function, **arguments)
    return HostedEngine(made, limits=QUICK, temp_dir=folder / "temp")


async def listen(engine: HostedEngine, text: str = TEXT, **fields: Any) -> np.ndarray:
    chunks = [chunk.pcm async for chunk in engine.speak(Utterance(text, **fields))]
    return np.concatenate(chunks)


def find_children() -> list[psutil.Process]:
    """The engine processes of this one."""
    return [each for each in psutil.Process().children() if _is_engine(each)]


def _is_engine(child: psutil.Process) -> bool:
    try:
        return "fishs2.engines.hosted.child" in child.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return False


async def test_speech_and_capabilities_are_those_of_the_child(engine: HostedEngine) -> None:
    heard = await listen(engine)

    assert np.array_equal(heard, fake_speech(TEXT, 24_000))
    assert heard.flags.writeable
    assert engine.capabilities.voices == ("fake", "Other")
    assert engine.capabilities.honours == {"seed", "top_k"}


async def test_voices_are_found_and_refused_as_in_the_child(engine: HostedEngine) -> None:
    assert engine.find_voice(None, "tlh") == "fake"
    assert engine.find_voice("oTHER", None) == "Other"
    with pytest.raises(NotFoundError, match="there is no 'somebody'") as caught:
        engine.find_voice("somebody", None)
    assert (caught.value.code, caught.value.param) == ("voice_not_found", "voice")


async def test_chunks_come_one_by_one_and_large_ones_in_pieces(engine: HostedEngine) -> None:
    assert len([chunk async for chunk in engine.speak(Utterance(TEXT))]) > 10
    sizes = [chunk.pcm.nbytes async for chunk in engine.speak(Utterance("large"))]

    assert sum(sizes) == 4_000_000
    assert max(sizes) <= 1 << 20


async def test_many_utterances_are_spoken_at_once(engine: HostedEngine) -> None:
    texts = [f"{number} {TEXT}" for number in range(20)]

    heard = await asyncio.gather(*(listen(engine, text) for text in texts))

    for text, pcm in zip(texts, heard, strict=True):
        assert np.array_equal(pcm, fake_speech(text, 24_000))


async def test_audio_of_a_reference_goes_over_once_and_arrives_whole(engine: HostedEngine) -> None:
    rng = np.random.default_rng(1)
    huge = Reference(rng.random(90 * 48_000, np.float32), 48_000, "long", key="huge")
    small = Reference(rng.random(1_000, np.float32), 8_000, "short", key="small")

    heard = await listen(engine, "reference", references=(small, huge))
    again = await listen(engine, "reference", references=(replace(huge, pcm=huge.pcm[:1]), small))

    assert np.array_equal(heard, np.concatenate((small.pcm, huge.pcm)))
    assert np.array_equal(again, np.concatenate((huge.pcm, small.pcm)))


async def test_two_that_bring_the_same_new_voice_both_get_it(engine: HostedEngine) -> None:
    pcm = np.linspace(0, 1, 3_000_000, dtype=np.float32)
    voice = Reference(pcm, 44_100, "long", key="new")

    heard = await asyncio.gather(
        *(listen(engine, "reference", references=(voice,)) for _ in range(3))
    )

    assert all(np.array_equal(each, pcm) for each in heard)


async def test_one_who_leaves_while_a_reference_is_sent_spoils_it_for_nobody(
    engine: HostedEngine,
) -> None:
    voice = Reference(np.ones(10_000_000, np.float32), 44_100, "long", key="left")
    for num_steps in (1, 3, 10):
        reading = asyncio.create_task(listen(engine, "reference", references=(voice,)))
        for _ in range(num_steps):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert np.array_equal(await listen(engine, "reference", references=(voice,)), voice.pcm)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, kind in vars(errors_module).items()
        if isinstance(kind, type) and issubclass(kind, EngineError)
    ],
)
async def test_errors_of_the_engine_keep_their_class(name: str, engine: HostedEngine) -> None:
    with pytest.raises(EngineError, match="a message") as caught:
        await listen(engine, f"raise {name}")

    assert type(caught.value).__name__ == name


async def test_refusals_keep_code_and_field(engine: HostedEngine) -> None:
    with pytest.raises(UserError, match="too long") as caught:
        await listen(engine, "refuse")

    assert (caught.value.code, caught.value.param) == ("prompt_too_long", "input")


async def test_unknown_exceptions_are_engine_errors_without_their_text(
    engine: HostedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError, match="failed: ValueError") as caught:
        await listen(engine, "unknown")

    assert "secret" not in caught.value.message
    await until(lambda: "Traceback" in caplog.text)
    assert len(await listen(engine)) > 0


async def test_whatever_is_printed_harms_nothing_and_reaches_the_log(
    engine: HostedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    num_before = engine.stats().num_restarts
    heard = await listen(engine, "print and go on")

    assert np.array_equal(heard, fake_speech("print and go on", 24_000))
    await until(lambda: "a complaint" in caplog.text)
    assert engine.stats().num_restarts == num_before


async def test_closed_generator_ends_the_work_in_the_child(engine: HostedEngine) -> None:
    (child,) = find_children()
    for _ in range(10):
        async with aclosing(engine.speak(Utterance(TEXT * 5))) as chunks:
            await anext(chunks)
    stalled = asyncio.create_task(listen(engine, "stall"))
    await asyncio.sleep(0.01)
    stalled.cancel()
    await asyncio.wait([stalled])
    await until(lambda: engine.stats().num_running == 0)

    assert find_children() == [child]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("then segfault me, after a first chunk", "was killed by SIGSEGV"),
        ("then abort me, after a first chunk", "was killed by SIGABRT"),
        ("then exit please, after a first chunk", "ended with status 3"),
    ],
)
async def test_child_lost_in_mid_speech_is_an_error_and_replaced(
    text: str, reason: str, engine: HostedEngine
) -> None:
    num_before = engine.stats().num_restarts
    chunks = engine.speak(Utterance(text))
    await anext(chunks)

    with pytest.raises(EngineError, match=reason):
        async for _ in chunks:
            pass

    assert np.array_equal(await listen(engine), fake_speech(TEXT, 24_000))
    assert engine.stats().num_restarts == num_before + 1


async def test_lost_utterance_can_be_sent_again(engine: HostedEngine) -> None:
    with pytest.raises(EngineLostError, match="was killed by SIGABRT while it worked"):
        await listen(engine, "once lost, then spoken")

    heard = await listen(engine, "once lost, then spoken")

    assert np.array_equal(heard, fake_speech("once lost, then spoken", 24_000))


async def test_child_whose_card_has_failed_ends_and_the_next_one_speaks(
    engine: HostedEngine,
) -> None:
    num_before = engine.stats().num_restarts

    heard = await hear(engine, Utterance("lose the card once"))

    assert np.array_equal(heard, fake_speech("lose the card once", 24_000))
    assert engine.stats().num_restarts == num_before + 1
    with pytest.raises(EngineLostError, match="ended, as its card had failed"):
        await listen(engine, "lose the card always")
    assert len(await listen(engine)) > 0


async def test_utterance_that_kills_every_child_is_an_error(engine: HostedEngine) -> None:
    with pytest.raises(EngineLostError, match="was killed by SIGABRT while it worked"):
        await hear(engine, Utterance("abort"))

    assert len(await listen(engine)) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shell")
async def test_process_that_outlives_the_child_holds_up_nobody(tmp_path: Path) -> None:
    engine = make(tmp_path)
    await engine.start()
    try:
        with pytest.raises(EngineError, match="was killed by SIGABRT"):
            await listen(engine, "fork")
        assert len(await listen(engine)) > 0
    finally:
        for each in psutil.process_iter(["cmdline"]):
            if each.info["cmdline"] == ["sleep", str(FORKED_S)]:
                each.kill()
        await engine.close()


async def test_last_words_are_logged_however_much_was_printed_before(
    engine: HostedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError):
        await listen(engine, "chatter")

    assert caplog.text.count("chatter") < 2 * 400
    assert "the last words" in caplog.text
    assert "SIGABRT" in caplog.text or "Aborted" in caplog.text


async def test_folder_that_is_tidied_away_is_made_again(tmp_path: Path) -> None:
    engine = make(tmp_path)
    await engine.start()
    shutil.rmtree(tmp_path / "temp")
    (child,) = [each for each in find_children() if str(tmp_path) in " ".join(each.cmdline())]
    child.kill()

    assert len(await hear(engine, Utterance(TEXT))) > 0
    await engine.close()


async def test_child_that_cannot_be_started_again_is_tried_until_it_can(tmp_path: Path) -> None:
    engine = make(tmp_path)
    await engine.start()
    shutil.rmtree(tmp_path / "temp")
    (tmp_path / "temp").touch()  # in its way
    (child,) = [each for each in find_children() if str(tmp_path) in " ".join(each.cmdline())]
    child.kill()
    await until(lambda: "cannot be started" in engine.stats().trouble)
    assert not engine.stats().is_loaded
    (tmp_path / "temp").unlink()
    await until(lambda: not engine.stats().trouble)

    assert len(await listen(engine)) > 0
    await engine.close()


async def test_child_that_hangs_in_mid_speech_is_killed(hasty: HostedEngine) -> None:
    chunks = hasty.speak(Utterance("then hang around, after a first chunk"))
    await anext(chunks)

    with pytest.raises(EngineError, match=r"did not answer for 0.5 s"):
        async for _ in chunks:
            pass

    assert len(await listen(hasty)) > 0


async def test_child_that_gets_nowhere_is_killed(hasty: HostedEngine) -> None:
    with pytest.raises(EngineError, match=r"got nowhere for 0.8 s"):
        await listen(hasty, "stall")

    assert len(await listen(hasty)) > 0


async def test_child_that_loads_its_model_again_gets_the_time_of_a_start(tmp_path: Path) -> None:
    limits = replace(QUICK, stall_s=0.2)
    engine = HostedEngine(recipe(), limits=limits, temp_dir=tmp_path)
    await engine.start()
    heard = await listen(engine, "load again")
    num_restarts = engine.stats().num_restarts
    await engine.close()

    assert len(heard) > 0
    assert num_restarts == 0


def has_restarts(engine: HostedEngine, number: int) -> bool:
    return engine.stats().num_restarts == number


async def test_those_who_leave_do_not_open_the_breaker(tmp_path: Path) -> None:
    limits = replace(QUICK, abort_s=0.02, max_losses=2, open_s=60)
    engine = HostedEngine(recipe(), limits=limits, temp_dir=tmp_path)
    await engine.start()
    for num_lost in range(1, 4):
        reading = asyncio.create_task(listen(engine, "stubborn"))
        await until(lambda: engine.stats().num_running == 1)
        reading.cancel()
        await until(partial(has_restarts, engine, num_lost))
    trouble = engine.stats().trouble
    await engine.close()

    assert not trouble


async def test_engine_that_cannot_be_closed_does_not_keep_the_child(tmp_path: Path) -> None:
    others = find_children()
    limits = replace(QUICK, close_s=10_000)
    engine = HostedEngine(recipe("make_clinging"), limits=limits, temp_dir=tmp_path)
    await engine.start()

    await engine.close()

    assert find_children() == others
    assert os.listdir(tmp_path) == []


async def test_log_line_that_cannot_be_written_harms_no_speech(engine: HostedEngine) -> None:
    assert len(await listen(engine, "misreport and go on")) > 0


async def test_child_that_does_not_stop_is_killed(hasty: HostedEngine) -> None:
    others = find_children()
    reading = asyncio.create_task(listen(hasty, "stubborn"))
    await asyncio.sleep(0.02)
    reading.cancel()
    await asyncio.wait([reading])

    await until(lambda: find_children() != others)
    assert len(await listen(hasty)) > 0


async def test_stopped_child_is_killed_while_others_are_answered(
    hasty: HostedEngine, tmp_path: Path
) -> None:
    (child,) = [each for each in find_children() if str(tmp_path) in " ".join(each.cmdline())]
    child.suspend()

    assert len(await hear(hasty, Utterance(TEXT))) > 0
    assert child not in find_children()


async def test_crashes_lose_nothing(engine: HostedEngine) -> None:
    texts = [f"once {n} lost" if n % 20 == 7 else f"number {n}" for n in range(60)]
    turns = asyncio.Semaphore(4)
    num_before = engine.stats().num_restarts

    async def speak(text: str) -> np.ndarray:
        async with turns:
            return await hear(engine, Utterance(text))

    heard = await asyncio.gather(*map(speak, texts))

    for text, pcm in zip(texts, heard, strict=True):
        assert np.array_equal(pcm, fake_speech(text, 24_000)), text
    assert engine.stats().num_restarts == num_before + 3


async def test_breaker_opens_says_why_and_closes_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "marks").mkdir()
    others = find_children()
    engine = make(tmp_path, "make_fragile", marks=str(tmp_path / "marks"))
    await engine.start()
    try:
        (child,) = [each for each in find_children() if each not in others]
        child.kill()
        await until(lambda: bool(engine.stats().trouble))
        with pytest.raises(EngineUnavailableError, match="in a row, last because: its process"):
            await listen(engine)
        assert "SIGABRT while it started" in engine.stats().trouble
        (tmp_path / "marks" / "repaired").touch()
        await until(lambda: not engine.stats().trouble)
        assert len(await listen(engine)) > 0
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("settings", SettingsError, "FISHS2_X=7: at most 5"),
        ("unavailable", EngineUnavailableError, "there is no model"),
        ("defect", EngineUnavailableError, "cannot be started: ZeroDivisionError"),
        ("death", EngineUnavailableError, "was killed by SIGABRT while it started"),
    ],
)
async def test_start_that_fails_says_what_the_child_said(
    error: str,
    kind: type[Fishs2Error],
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = find_children()
    engine = make(tmp_path, "make_failing", error=error)

    with pytest.raises(kind, match=message):
        await engine.start()
    await engine.close()

    assert find_children() == others
    assert list((tmp_path / "temp").iterdir()) == []
    if error == "death":
        assert "about to die" in caplog.text


async def test_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    others = find_children()
    limits = replace(QUICK, start_s=0.1)
    engine = HostedEngine(recipe("make_silent"), limits=limits, temp_dir=tmp_path)

    with pytest.raises(EngineUnavailableError, match=r"did not start within 0.1 s"):
        await engine.start()

    assert find_children() == others


async def test_engine_that_cannot_be_imported_or_hosted_is_unavailable(tmp_path: Path) -> None:
    for made, message in (
        (Recipe("tests.engines.nowhere", "make"), "nowhere cannot be imported"),
        (recipe("make_by_language"), "chooses voices by language"),
    ):
        with pytest.raises(EngineUnavailableError, match=message):
            await HostedEngine(made, temp_dir=tmp_path).start()


async def test_close_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    others, tasks = find_children(), asyncio.all_tasks()
    for delay_s in (0, 0.01, 0.1, 0.3):
        engine = make(tmp_path)
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(delay_s)
        starting.cancel()
        await asyncio.wait([starting])
        await engine.close()

        assert find_children() == others
        assert asyncio.all_tasks() == tasks


async def test_close_ends_what_is_in_work_and_leaves_nothing(tmp_path: Path) -> None:
    others, tasks = find_children(), asyncio.all_tasks()
    (tmp_path / "marks").mkdir()
    fds_before = psutil.Process().num_fds() if os.name != "nt" else 0
    threads_before = psutil.Process().num_threads()
    for text in (TEXT * 200, "stall", "stubborn"):
        engine = HostedEngine(
            recipe(), limits=replace(QUICK, close_s=0.5), temp_dir=tmp_path / "temp"
        )
        await engine.start()
        reading = asyncio.create_task(listen(engine, text))
        await asyncio.sleep(0.02)
        await engine.close()
        await asyncio.wait([reading])
        with pytest.raises(EngineError, match="was closed"):
            reading.result()
        assert find_children() == others
        with pytest.raises(EngineUnavailableError, match="was closed"):
            await listen(engine)

    assert asyncio.all_tasks() == tasks
    assert list((tmp_path / "temp").iterdir()) == []
    # The default executor keeps threads, and asyncio its child watcher.
    assert psutil.Process().num_threads() <= threads_before + 4
    if os.name != "nt":
        assert psutil.Process().num_fds() <= fds_before + 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_signals_meant_for_the_server_do_not_end_the_child(engine: HostedEngine) -> None:
    (child,) = find_children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child.send_signal(number)

    assert len(await listen(engine)) > 0
    assert find_children() == [child]


SERVER = """
import asyncio, psutil, sys
from pathlib import Path
from fishs2.engines.base import Utterance
from fishs2.engines.hosted.engine import HostedEngine
from tests.engines.hosted.recipes import recipe

async def main():
    engine = HostedEngine(recipe(), temp_dir=Path(sys.argv[1]))
    await engine.start()
    speech = engine.speak(Utterance(sys.argv[2]))
    task = asyncio.create_task(anext(speech))
    await asyncio.sleep(0.05)
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("text", [TEXT, "hang for ever"])
async def test_killed_server_leaves_no_child(text: str, tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(tmp_path), text),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert server.stdout is not None
    children = [psutil.Process(int(pid)) for pid in (await server.stdout.readline()).split()]
    server.kill()
    await server.communicate()

    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=PATIENCE_S)

    assert len(children) == 1
    assert not alive
    assert os.listdir(tmp_path) == []


async def test_every_field_of_an_utterance_reaches_the_child(engine: HostedEngine) -> None:
    utterance = Utterance(
        "tell me “all”",
        voice="other",
        sampling=Sampling(temperature=0.5, seed=2**70, top_k=3),
        part=Part("a", 1),
        has_common_limit=True,
        latency="low",
        num_threads=3,
        verbose=True,
    )

    with pytest.raises(UserError) as told:
        await anext(engine.speak(utterance))

    assert told.value.message == repr(utterance)


async def test_log_of_the_child_is_in_ours(
    engine: HostedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError):
        await listen(engine, "unknown")

    await until(
        lambda: any(
            record.name == "fishs2.engines.hosted.child" and record.levelno == logging.ERROR
            for record in caplog.records
        )
    )
