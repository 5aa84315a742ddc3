"""A writer of voices that is killed between the two renames of a replacement.

`python -m tests.store.dying FOLDER VOICE_ID CONTENT`
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.store import VoiceStore
from fishs2.store.voices.swap import NEW


def die_replacing(folder: Path, voice_id: str) -> None:
    """Let another process begin to replace a voice, and kill it when the old one is set aside."""
    command = [sys.executable, "-m", "tests.store.dying", str(folder), voice_id]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -signal.SIGKILL
    assert not (folder / voice_id).exists()


def _die_at_second_rename(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.rename" and Path(str(arguments[0])).name.startswith(NEW):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.addaudithook(_die_at_second_rename)
    VoiceStore(Path(sys.argv[1])).add(
        NewVoice((NewSample("a.wav", b"never complete"),), voice_id=sys.argv[2])
    )
