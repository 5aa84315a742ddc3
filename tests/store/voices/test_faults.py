"""Voices that cannot be read at a moment, or whose writer was killed: nothing of it lasts."""

import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.store import VoiceStore
from tests.store.dying import die_replacing

FAILING_ONCE = """
    import os, sys
    from pathlib import Path
    from fishs2.errors import Fishs2Error
    from fishs2.store.voices.changes import NewSample, NewVoice
    from fishs2.store.voices.store import VoiceStore

    folder, code = Path(sys.argv[1]), int(sys.argv[2])
    failing = [True]

    def fail(event, arguments):
        # As if the disk or the kernel did: of all that is opened, one voice's metadata.
        if event == "open" and failing and str(arguments[0]).endswith("a/meta.json"):
            raise OSError(code, os.strerror(code))

    sys.addaudithook(fail)
    store = VoiceStore(folder)
    for _ in range(2):
        assert [voice.voice_id for voice in store.list()] == ["b"]
    for look in (lambda: store.find("a"), lambda: store.add(new)):
        new = NewVoice((NewSample("a.wav", b"new"),), voice_id="A")
        try:
            look()
        except OSError as error:
            assert error.errno == code
        else:
            raise AssertionError("a voice that cannot be read passes for one that is not there")
    assert store.find("c") is None
    failing.clear()
    assert [voice.voice_id for voice in store.list()] == ["a", "b"]
    assert store.find("a").name == "a"
"""


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ENOMEM, errno.EACCES])
def test_voice_that_could_not_be_read_once_is_not_forgotten(tmp_path: Path, code: int) -> None:
    store = VoiceStore(tmp_path)
    for name in ("a", "b"):
        store.add(NewVoice((NewSample("a.wav", b"sound"),), voice_id=name))

    script = textwrap.dedent(FAILING_ONCE)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(code)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("skipped in the voices folder") == 1


@pytest.mark.parametrize("read", ["list", "find", "find by name", "start"])
def test_replacement_cut_short_by_a_kill_is_undone_by_any_read(tmp_path: Path, read: str) -> None:
    store = VoiceStore(tmp_path)
    store.add(NewVoice((NewSample("a.wav", b"old"),), voice_id="narrator", name="Der Erzähler"))
    store.list()
    die_replacing(tmp_path, "narrator")

    for reader in (store, VoiceStore(tmp_path)):
        if read == "list":
            assert [voice.voice_id for voice in reader.list()] == ["narrator"]
        elif read == "start":
            reader.register_staged()
        else:
            found = reader.find("narrator" if read == "find" else "DER ERZÄHLER")
            assert found is not None
            assert reader.read_sample(found, 100) == b"old"
    assert (tmp_path / "narrator" / "a.wav").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "narrator"]
