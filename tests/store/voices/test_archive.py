"""Voices as .zip files: whole, or refused."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.errors import UserError
from fishs2.store.voices.archive import pack_voice, unpack_voice
from fishs2.store.voices.files import Sample, Voice

VOICE = Voice(
    voice_id="narrator",
    name="The Narrator",
    created=1_790_000_000,
    model=None,
    language="en",
    mode=None,
    description=None,
    transcript="What is said.",
    samples=(Sample("b.wav", 5), Sample("a.wav", 6)),
    other_transcripts=("And more.",),
    tags=("low",),
    visibility="unlist",
)
CONTENTS = [b"first", b"second"]
PACKED = pack_voice(VOICE, CONTENTS)


def test_what_was_packed_is_unpacked() -> None:
    new = unpack_voice(PACKED)

    assert [(sample.filename, sample.content) for sample in new.samples] == [
        ("b.wav", b"first"),
        ("a.wav", b"second"),
    ]
    assert (new.voice_id, new.name, new.transcript) == ("narrator", VOICE.name, VOICE.transcript)
    assert [sample.transcript for sample in new.samples] == [None, "And more."]
    assert (new.tags, new.visibility) == (("low",), "unlist")


def test_archive_of_an_earlier_version_is_unpacked() -> None:
    def forget(entries: dict[str, bytes]) -> None:
        index = json.loads(entries["voice.json"])
        for name in ("other_transcripts", "tags", "visibility"):
            del index["voice"][name]
        del index["sha256"]
        digest = hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
        entries["voice.json"] = json.dumps({**index, "sha256": digest}).encode()

    new = unpack_voice(repack(forget))

    assert (new.name, new.tags, new.visibility) == (VOICE.name, (), "private")


def test_same_voice_gives_the_same_bytes() -> None:
    assert pack_voice(VOICE, CONTENTS) == PACKED


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused_or_changes_nothing(place: int, change: int) -> None:
    damaged = bytearray(PACKED)
    damaged[place] ^= change

    # Zip has bytes that mean nothing to us, dates for example.
    with suppress(UserError):
        assert unpack_voice(bytes(damaged)) == unpack_voice(PACKED)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, len(PACKED)).map(lambda n: PACKED[:n]))
def test_any_bytes_are_an_archive_or_refused(content: bytes) -> None:
    if content == PACKED:
        return
    with pytest.raises(UserError) as caught:
        unpack_voice(content)
    assert caught.value.code == "invalid_voice_archive"


def repack(change: Callable[[dict[str, bytes]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(PACKED)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def edit_index(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        index = json.loads(entries["voice.json"])
        index.update(changes)
        entries["voice.json"] = json.dumps(index).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries.update({"../evil.wav": b"x"}),
        lambda entries: entries.update({"/etc/evil": b"x"}),
        lambda entries: entries.update({"2": b"not listed"}),
        lambda entries: entries.pop("1"),
        lambda entries: entries.pop("voice.json"),
        lambda entries: entries.update({"0": b"other"}),
        lambda entries: entries.update({"voice.json": b"[" * 100_000}),
        lambda entries: entries.update({"voice.json": b" " * 2_000_000}),
        edit_index(format=2),
        edit_index(samples=[]),
        edit_index(voice={}),
        edit_index(sha256=None),
    ],
)
def test_tampering_is_refused(change: Callable[[dict[str, bytes]], None]) -> None:
    with pytest.raises(UserError) as caught:
        unpack_voice(repack(change))
    assert caught.value.code == "invalid_voice_archive"


def test_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(UserError, match="larger than"):
        unpack_voice(repack(lambda entries: entries.update({"0": bytes(105_000_000)})))
