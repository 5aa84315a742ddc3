"""The folder of voices: what is kept, what is refused, and what survives other writers."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishs2.errors import BusyError
from fishs2.store.voices import store as voices_module
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.ids import MAX_ID_CHARS, fold_name, propose_ids, safe_file_name
from fishs2.store.voices.store import VoiceStore

names = st.text(max_size=60) | st.sampled_from(
    ["..", ".", "con", "CON.wav", "a/../b", "\0", "ａｂ", "meta.json", ".lock", "x" * 500, "COM1"]
)


def new_voice(voice_id: str | None = "a", *contents: bytes, **texts: Any) -> NewVoice:
    samples = tuple(NewSample(f"{n}.wav", c) for n, c in enumerate(contents or (b"sound",)))
    return NewVoice(samples, voice_id=voice_id, **texts)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@given(names)
def test_ids_are_safe_as_names_of_folders(name: str) -> None:
    for voice_id in propose_ids(name):
        assert 0 < len(voice_id) <= MAX_ID_CHARS + len("voice-")
        assert set(voice_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        assert not voice_id.startswith(("-", "_", "."))
        assert voice_id not in ("con", "nul", "com1")


@given(names)
def test_id_proposed_first_stays_as_it_is(name: str) -> None:
    for voice_id in propose_ids(name)[:1]:
        assert propose_ids(voice_id)[0] == voice_id


@given(names, names)
def test_different_names_can_always_get_different_ids(one: str, other: str) -> None:
    if fold_name(one) != fold_name(other):
        assert not set(propose_ids(one)[-1:]) & set(propose_ids(other)[-1:])


@pytest.mark.parametrize(
    ("name", "voice_id"),
    [
        ("Café Voice!!", "cafe-voice"),
        ("pandrator-narrator-0123456789", "pandrator-narrator-0123456789"),
        ("sample_male", "sample_male"),
        ("__a--b__", "a-b"),
        ("CON", "voice-con"),
        ("Straße", "strae-16d969520877"),
        ("日本語", "voice-77710aedc74e"),
        ("josé", "jose-d994e1d00188"),
        ("ｊｏｓｅ", "jose-c763def4d8e4"),
        ("jose ", "jose-7c44a1934076"),
        ("José Q.", "jose-q"),
    ],
)
def test_ids_follow_the_wrappers_rule_where_no_other_name_could_be_meant(
    name: str, voice_id: str
) -> None:
    assert propose_ids(name)[0] == voice_id


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ("José", "Jose\u0301", True),
        ("José", "JOSÉ", True),
        ("Straße", "STRASSE", True),
        ("José", "Jose", False),
        ("Narrator 1", "Narrator #1", False),
        ("Bob", "Bob ", False),
        ("x", "ｘ", False),
    ],
)
def test_names_are_equal_but_for_case_and_composition(
    one: str, other: str, are_equal: bool
) -> None:
    assert (fold_name(one) == fold_name(other)) == are_equal


@given(names)
def test_file_names_are_plain_and_never_metadata(name: str) -> None:
    safe = safe_file_name(name)

    assert os.path.basename(safe) == safe
    assert not safe.startswith(".")
    assert "." in safe
    assert not safe.endswith((".json", ".txt", ".lab"))


def test_what_is_added_is_found_with_all_its_texts(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path / "voices")

    added = store.add(
        new_voice("My Voice", b"one", b"two", transcript="t", language="de", model="m", mode="hifi")
    )

    [listed] = VoiceStore(tmp_path / "voices").list()
    assert listed == added
    assert (listed.voice_id, listed.name, listed.transcript) == ("my-voice", "My Voice", "t")
    assert [sample.filename for sample in listed.samples] == ["0.wav", "1.wav"]
    assert store.sample_path(listed, listed.samples[1]).read_bytes() == b"two"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(names, st.binary(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_any_upload_is_kept_in_order_and_inside_the_folder(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]]
) -> None:
    root = tmp_path_factory.mktemp("store")
    store = VoiceStore(root / "voices")

    store.add(NewVoice(tuple(NewSample(*file) for file in files), voice_id="v"))

    [voice] = store.list()
    kept = [store.sample_path(voice, sample).read_bytes() for sample in voice.samples]
    assert kept == list(dict.fromkeys(content for _, content in files))
    assert [path.name for path in root.iterdir()] == ["voices"]
    assert {path.name for path in (root / "voices").iterdir()} <= {"v", ".lock"}


@settings(max_examples=60, deadline=None)
@given(names)
def test_no_name_finds_or_removes_what_it_does_not_name(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    root = tmp_path_factory.mktemp("store")
    (root / "secret").mkdir()
    (root / "secret" / "a.wav").write_bytes(b"secret")
    store = VoiceStore(root / "voices")
    store.add(new_voice("kept"))
    before = snapshot(root)

    found, removed = store.find(name), store.remove(name)

    assert found is None or found.voice_id == "kept"
    assert removed is None
    assert snapshot(root) == before


def test_links_are_not_listed_read_or_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.wav").write_bytes(b"outside")
    store = VoiceStore(tmp_path / "voices")
    store.add(new_voice("real"))
    (tmp_path / "voices" / "linked").symlink_to(outside, target_is_directory=True)
    (tmp_path / "voices" / "real" / "zlink.wav").symlink_to(outside / "a.wav")

    assert [voice.voice_id for voice in store.list()] == ["real"]
    assert len(store.list()[0].samples) == 1
    assert store.remove("linked") is None
    store.remove("real")
    assert (outside / "a.wav").read_bytes() == b"outside"


def test_upload_over_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.wav").write_bytes(b"outside")
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "linked").symlink_to(outside, target_is_directory=True)

    VoiceStore(tmp_path / "voices").add(new_voice("linked"))

    assert (outside / "a.wav").read_bytes() == b"outside"
    assert not (tmp_path / "voices" / "linked").is_symlink()


def test_folder_of_the_original_wrapper_works_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "sample_male"
    folder.mkdir()
    (folder / "sample_male_new.wav").write_bytes(b"x" * 10)
    meta = {
        "voice_id": "sample_male",
        "created": 1779234432,
        "model": None,
        "language": None,
        "mode": "hifi",
        "unknown": {"kept": True},
        "prompt_text": "The window was open.",
        "files": [{"filename": "sample_male_new.wav", "size": 557756}],
    }
    (folder / "meta.json").write_text(json.dumps(meta))

    [voice] = VoiceStore(tmp_path).list()

    assert (voice.created, voice.transcript) == (1779234432, "The window was open.")
    assert voice.samples[0].size_bytes == 10


def test_staged_folder_is_registered_once_and_keeps_its_order(tmp_path: Path) -> None:
    folder = tmp_path / "Staged Voice"
    folder.mkdir()
    (folder / "b.wav").write_bytes(b"b")
    (folder / "a.WAV").write_bytes(b"a")
    (folder / "a.lab").write_text("\ufeffsaid\n", encoding="utf-8")
    store = VoiceStore(tmp_path)

    store.register_staged()

    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    assert [file["filename"] for file in meta["files"]] == ["a.WAV", "b.wav"]
    assert meta["prompt_text"] == "said"
    found = store.find("Staged Voice")
    assert found is not None
    assert found.voice_id == "Staged Voice"


@pytest.mark.parametrize("meta", ["{", "[]", "1", "null", "[" * 50_000, '"\\ud800"', "\0", "ÿ"])
def test_broken_metadata_hides_its_voice_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, meta: str
) -> None:
    store = VoiceStore(tmp_path)
    store.add(new_voice("good"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_bytes(b"x")
    (tmp_path / "bad" / "meta.json").write_bytes(meta.encode("latin-1"))

    for _ in range(3):
        assert [voice.voice_id for voice in store.list()] == ["good"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "meta",
    [
        {"created": "yesterday", "prompt_text": 5, "files": "all", "name": []},
        {"files": [{"filename": "../../secret"}, {"filename": 1}, 7, {"filename": "a.wav"}]},
        {"created": True, "files": None, "voice_id": None},
        {},
    ],
)
def test_metadata_of_wrong_types_is_read_as_far_as_it_goes(
    tmp_path: Path, meta: dict[str, object]
) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "a.wav").write_bytes(b"x")
    (tmp_path / "odd" / "meta.json").write_text(json.dumps(meta))

    [voice] = VoiceStore(tmp_path).list()

    assert [sample.filename for sample in voice.samples] == ["a.wav"]
    assert isinstance(voice.created, int)


def test_changes_by_others_are_seen(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path)
    store.add(new_voice("a", transcript="one"))
    assert store.list()[0].transcript == "one"

    VoiceStore(tmp_path).add(new_voice("a", b"longer sound", transcript="two"))
    VoiceStore(tmp_path).add(new_voice("b"))

    assert [voice.transcript for voice in store.list()] == ["two", None]


def test_failed_write_leaves_the_old_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VoiceStore(tmp_path)
    store.add(new_voice("a", b"old"))
    before = snapshot(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(voices_module, "write_meta", fail)
    with pytest.raises(OSError, match="No space"):
        store.add(new_voice("a", b"new"))

    assert snapshot(tmp_path) == before


def test_left_overs_of_dead_writers_are_put_right(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path)
    store.add(new_voice("a", b"old"))
    (tmp_path / "a").rename(tmp_path / ".old-a-0123")
    (tmp_path / ".new-a-4567").mkdir()
    (tmp_path / ".gone-b-89ab").mkdir()

    store.add(new_voice("c"))

    assert [voice.voice_id for voice in store.list()] == ["a", "c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a", "c"]


def test_writer_waits_for_another_process_and_gives_up_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices_module, "LOCK_TIMEOUT_S", 0.05)
    store = VoiceStore(tmp_path)

    with FileLock(tmp_path / ".lock"), pytest.raises(BusyError, match="somebody else"):
        store.add(new_voice("a"))

    store.add(new_voice("a"))


WRITER = """
    import sys
    from pathlib import Path
    from fishs2.store.voices.changes import NewSample, NewVoice
    from fishs2.store.voices.store import VoiceStore

    store, me = VoiceStore(Path(sys.argv[1])), sys.argv[2]
    for n in range(30):
        content = f"{me} {n}".encode() * 50
        for voice_id in (f"{me}-{n}", "shared"):
            store.add(NewVoice((NewSample("a.wav", content),), voice_id=voice_id))
        if n % 3 == 0:
            assert store.remove(f"{me}-{n}") is not None
        shared = store.find("shared")
        assert shared is not None
"""


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    code = textwrap.dedent(WRITER)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in ("x", "y")
    ]
    store = VoiceStore(tmp_path)
    store.add(new_voice("always"))
    while any(writer.poll() is None for writer in writers):
        assert store.find("always") is not None

    assert [writer.returncode for writer in writers] == [0, 0]
    expected = {f"{me}-{n}" for me in "xy" for n in range(30) if n % 3} | {"shared", "always"}
    assert {voice.voice_id for voice in store.list()} == expected
    shared = store.find("shared")
    assert shared is not None
    content = store.sample_path(shared, shared.samples[0]).read_bytes()
    assert content in (b"x 29" * 50, b"y 29" * 50)


def test_sample_voices_come_with_a_new_folder_only(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path / "voices")
    store.install(voices_module.SAMPLE_VOICES)
    names = [voice.voice_id for voice in store.list()]
    store.remove("sample_male")

    store.install(voices_module.SAMPLE_VOICES)

    assert names == ["sample_female", "sample_male"]
    assert [voice.voice_id for voice in store.list()] == ["sample_female"]
