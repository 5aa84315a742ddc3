"""What crosses between server and child arrives as it was, whatever fields it has."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishs2 import errors
from fishs2.engines.base import (
    Capabilities,
    CodecLayout,
    EngineStats,
    Part,
    Reference,
    Sampling,
    Utterance,
)
from fishs2.engines.hosted.messages import (
    MAX_PIECE_BYTES,
    Failure,
    Profile,
    Samples,
    error_of,
    failure_of,
    pack,
    read_pcm,
    unpack,
)
from fishs2.engines.hosted.references import (
    ReferenceBook,
    ReferenceStock,
    cut_samples,
    without_audio,
)
from fishs2.errors import EngineError, Fishs2Error, UserError

REFERENCE = Reference(
    np.arange(5, dtype=np.float32), 44_100, "said \ud800", key="k", folder=Path("/voices/a")
)
UTTERANCE = Utterance(
    text="Say “ä”",
    voice="v",
    references=(REFERENCE,),
    sampling=Sampling(
        temperature=0.5,
        top_p=1,
        top_k=3,
        repetition_penalty=1.5,
        max_new_tokens=7,
        min_tokens_before_end=2,
        seed=-(2**70),
    ),
    part=Part("speech", 3, is_last=False),
    has_common_limit=True,
    latency="low",
    num_threads=2,
    verbose=False,
)
STATS = EngineStats(
    is_loaded=False,
    num_slots=1,
    num_running=2,
    num_steps=3,
    step_s=0.5,
    num_prefilled=4,
    num_frames=5,
    num_voice_hits=6,
    num_voice_misses=7,
    num_restarts=8,
    num_runaways=9,
    cache_bytes=10,
    trouble="none",
    is_lost=True,
)
CAPABILITIES = Capabilities(
    *("n", "metal", 44_100, 3, 400, ("a", "b"), "full"),
    needs_transcript=False,
    speaks_tags=True,
    spelling="plain",
    honours=frozenset("xy"),
    device="a card",
    takes_ipa=True,
    languages=("de",),
    marks_words=True,
)
PROFILE = Profile(
    CAPABILITIES, "a", {"a": "b"}, Failure("NotFoundError", "no", {}), CodecLayout((4, 2), 21.5)
)


def values_of(record: Any) -> Iterator[tuple[str, Any]]:
    """All fields, of what is inside too; arrays as lists."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        items = value if isinstance(value, tuple) else (value,)
        for item in items:
            if dataclasses.is_dataclass(item):
                yield from values_of(item)
            else:
                yield field.name, item.tolist() if isinstance(item, np.ndarray) else item


def defaults_left(record: Any) -> list[str]:
    """Fields that have their default value, and so prove nothing."""
    left = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            left += defaults_left(value)
        elif field.default is not dataclasses.MISSING and field.default == value:
            left.append(field.name)
    return left


@pytest.mark.parametrize("record", [UTTERANCE, REFERENCE, STATS, PROFILE])
def test_all_fields_arrive(record: Any) -> None:
    """Fails as well when a field is added that `record` above does not give a value of its own."""
    arrived = unpack(type(record), pack(record))

    assert not defaults_left(record)
    assert list(values_of(arrived)) == list(values_of(record))


def test_numbers_keep_their_types() -> None:
    arrived = unpack(Utterance, pack(UTTERANCE)).sampling

    assert isinstance(arrived.top_p, float)
    assert isinstance(arrived.seed, int)


@pytest.mark.parametrize("payload", [b"", b"\xc1", pack(REFERENCE), b"\x81\xa4text\x01"])
def test_payload_of_another_kind_is_an_error(payload: bytes) -> None:
    with pytest.raises(EngineError, match="damaged"):
        unpack(Utterance, payload)


def all_errors() -> list[type[Fishs2Error]]:
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Fishs2Error)
    ]


@pytest.mark.parametrize("kind", all_errors())
def test_errors_arrive_with_class_and_fields(kind: type[Fishs2Error]) -> None:
    """An error class must take its attributes as keyword arguments of the same names."""
    fields: dict[str, Any] = {}
    if issubclass(kind, UserError):
        fields = {"code": "a_code", "param": "a_field"}
    if issubclass(kind, errors.BusyError):
        fields = {"code": "a_code", "retry_after_s": 3}
    if issubclass(kind, errors.ListenerMissingError):
        fields = {"code": "a_code"}
    error = kind("what was wrong", **fields)

    arrived = error_of(unpack(Failure, pack(failure_of(error))))

    assert type(arrived) is kind
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize("name", ["Exception", "annotations", "nowhere", "SettingsError"])
def test_error_of_no_known_class_is_an_engine_error(name: str) -> None:
    arrived = error_of(Failure(name, "what was wrong", {"colour": "red"}))

    assert type(arrived) is EngineError
    assert arrived.message == "what was wrong"


@pytest.mark.parametrize("payload", [b"", b"abc", b"ratehalf-"])
def test_damaged_samples_are_an_error(payload: bytes) -> None:
    with pytest.raises(EngineError, match="damaged"):
        read_pcm(payload)


def test_references_are_put_together_again() -> None:
    long = dataclasses.replace(REFERENCE, pcm=np.arange(MAX_PIECE_BYTES, dtype=np.float32), key="l")
    empty = dataclasses.replace(REFERENCE, pcm=np.zeros(0, np.float32), key="e")
    utterance = dataclasses.replace(UTTERANCE, references=(long, empty, REFERENCE, long))
    stock = ReferenceStock()
    for reference in (long, empty, REFERENCE):
        for samples in cut_samples(reference):
            payload = pack(samples)
            assert len(payload) < MAX_PIECE_BYTES + 100
            stock.add(unpack(Samples, payload))

    bare = unpack(Utterance, pack(without_audio(utterance)))
    whole = stock.complete(bare)

    assert len(pack(without_audio(utterance))) < 1_000
    assert list(values_of(whole)) == list(values_of(utterance))
    stock.forget("l")
    with pytest.raises(EngineError, match="is missing"):
        stock.complete(bare)


def test_least_recently_used_audio_is_forgotten_but_not_what_is_spoken_with() -> None:
    book = ReferenceBook(max_bytes=50)
    for key in "abc":
        book.add(dataclasses.replace(REFERENCE, key=key))  # 20 bytes each
    assert book.has("a")

    assert book.choose_forgotten(frozenset()) == ["b"]
    book.add(dataclasses.replace(REFERENCE, key="d"))
    assert book.choose_forgotten(frozenset("c")) == ["a"]
    assert [key for key in "abcd" if book.has(key)] == ["c", "d"]
