"""Decoding in processes: what they make of good files, and what of those that are made to harm."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.audio.decoder import DecodeLimits, Decoder
from fishs2.errors import BusyError, EngineUnavailableError, ShutdownError, UserError
from fishs2.processes.child import Program
from fishs2.processes.pool import PoolLimits
from tests.audio.steered_decoder import make_steered
from tests.audio.test_decode import NOT_AUDIO, UPLOADS
from tests.recordings import make_adts
from tests.serving import PATIENCE_S, until

ADTS_BOMB = make_adts(b"\xe0", num_bytes=10_000_000)
PATIENT = PoolLimits(PATIENCE_S, PATIENCE_S, PATIENCE_S, PATIENCE_S)
MP3 = UPLOADS["mp3"]


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    """One process, as it is in a server."""
    made = Decoder(1)
    yield made
    await made.close()


@pytest.fixture
async def steered() -> AsyncIterator[Decoder]:
    """One process that does what its files say."""
    made = Decoder(1, DecodeLimits(pool=PATIENT), make_program=make_steered)
    yield made
    await made.close()


async def decode(decoder: Decoder, source: bytes, max_seconds: float = 90) -> np.ndarray:
    return (await decoder.decode(source, max_seconds=max_seconds)).pcm


async def test_files_become_the_same_samples_as_without_a_process(decoder: Decoder) -> None:
    for source in UPLOADS.values():
        expected = decode_audio(source, max_seconds=1)

        heard = await decoder.decode(source, max_seconds=1)

        assert heard.sample_rate_hz == expected.sample_rate_hz
        np.testing.assert_array_equal(heard.pcm, expected.pcm)
        assert heard.pcm.flags.writeable


async def test_refusals_are_the_same_as_without_a_process(decoder: Decoder) -> None:
    for source in (*NOT_AUDIO.values(), MP3):
        with pytest.raises(UserError) as expected:
            decode_audio(source, max_seconds=0.1)
        with pytest.raises(UserError) as caught:
            await decoder.decode(source, max_seconds=0.1)

        assert vars(caught.value) == vars(expected.value)


async def test_long_recording_comes_whole(decoder: Decoder) -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_767, 4_000_000, np.int16)
    wav = make_wav(samples)

    np.testing.assert_array_equal(await decode(decoder, wav), samples / np.float32(32_768))


def make_wav(samples: np.ndarray) -> bytes:
    head = b"RIFF" + (36 + samples.nbytes).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\x01\0\x01\0"
    rates = (48_000).to_bytes(4, "little") + (96_000).to_bytes(4, "little")
    return (
        head
        + rates
        + b"\x02\0\x10\0data"
        + samples.nbytes.to_bytes(4, "little")
        + samples.tobytes()
    )


async def test_plain_wav_needs_no_process(decoder: Decoder) -> None:
    others = psutil.Process().children()

    await decode(decoder, UPLOADS["wav"])

    assert psutil.Process().children() == others


async def test_file_of_packets_without_sound_is_refused(decoder: Decoder) -> None:
    with pytest.raises(UserError, match="cannot be read") as caught:
        await decode(decoder, ADTS_BOMB)

    assert caught.value.code == "invalid_audio"
    assert len(await decode(decoder, MP3)) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (DecodeLimits(cpu_s=0, audio_per_cpu_s=1e9), "more than .* of computing"),
        (DecodeLimits(memory_bytes=0), r"more than \d+ MB of memory"),
    ],
)
async def test_file_that_costs_too_much_is_refused_and_the_next_one_is_read(
    limits: DecodeLimits, message: str
) -> None:
    decoder = Decoder(1, limits)
    try:
        with pytest.raises(UserError, match=message) as caught:
            await decode(decoder, ADTS_BOMB, max_seconds=0.01)
        with pytest.raises(UserError, match=r"longer than 0\.01 s|of computing"):
            await decode(decoder, MP3, max_seconds=0.01)
    finally:
        await decoder.close()

    assert caught.value.code == "invalid_audio"


@pytest.mark.skipif(sys.platform != "linux", reason="psutil reads these limits on Linux")
async def test_process_can_open_nothing_and_leaves_the_cores_to_speech(decoder: Decoder) -> None:
    await decode(decoder, MP3)
    (child,) = [
        each for each in psutil.Process().children() if "decode_child" in str(each.cmdline())
    ]

    assert child.rlimit(psutil.RLIMIT_NOFILE) == (0, 0)
    assert child.nice() >= psutil.Process().nice() + 10 or child.nice() == 19


async def test_crash_costs_its_file_only(steered: Decoder) -> None:
    with pytest.raises(UserError, match="its decoder crashes at it") as caught:
        await decode(steered, b"crash")

    assert caught.value.code == "invalid_audio"
    assert len(await decode(steered, MP3)) > 0
    assert steered.num_restarts == 2


async def test_file_whose_process_was_ended_by_others_is_read_by_the_next(
    steered: Decoder, tmp_path: Path
) -> None:
    source = b"once " + bytes(tmp_path / "mark") + b"\0" + MP3

    assert len(await decode(steered, source)) > 0


async def test_hang_costs_its_file_only() -> None:
    limits = DecodeLimits(pool=replace(PATIENT, stall_s=0.5))
    decoder = Decoder(1, limits, make_program=make_steered)
    try:
        with pytest.raises(UserError, match="it takes longer than any recording"):
            await decode(decoder, b"hang")
    finally:
        await decoder.close()


async def test_those_who_wait_too_long_are_sent_away() -> None:
    limits = DecodeLimits(pool=replace(PATIENT, turn_s=0.05))
    decoder = Decoder(1, limits, make_program=make_steered)
    hanging = asyncio.create_task(decode(decoder, b"hang"))
    try:
        await until(lambda: bool(find_steered()))
        with pytest.raises(BusyError, match="more audio files"):
            await decode(decoder, MP3)
    finally:
        await decoder.close()
    with pytest.raises(ShutdownError):
        await hanging
    assert not find_steered()


def find_steered() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            found += [child] if "steered_decoder.py" in str(child.cmdline()) else []
        except psutil.Error:
            continue
    return found


async def test_whoever_leaves_frees_the_process(decoder: Decoder) -> None:
    await decode(decoder, MP3)
    leaving = asyncio.create_task(decode(decoder, ADTS_BOMB))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])

    assert len(await decode(decoder, MP3)) > 0


async def test_decoder_that_cannot_start_says_so_and_is_tried_again(tmp_path: Path) -> None:
    mark = tmp_path / "repaired"

    def make_program() -> Program:
        return (
            make_steered() if mark.exists() else Program("the decoder", (sys.executable, "-c", ""))
        )

    decoder = Decoder(1, make_program=make_program)
    with pytest.raises(EngineUnavailableError, match="ended by itself while it started"):
        await decode(decoder, MP3)
    mark.touch()

    assert len(await decode(decoder, MP3)) > 0
    await decoder.close()
