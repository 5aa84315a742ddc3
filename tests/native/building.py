"""Builds the fake s2.cpp library with the system's compiler, once per session."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.serving import PATIENCE_S

HERE = Path(__file__).parent
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
NO_COMPILER = "there is no C compiler (cc, gcc or clang) to build the fake s2.cpp library with"
_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


def build_library(folder: Path, *flags: str) -> Path:
    """Compile the fake into `folder` under the name that the engine looks for."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "s2" if os.name == "nt" else "libs2"
    return compile_shared(HERE / "fake_s2.c", folder / f"{name}{_SUFFIX}", *flags, "-lm")


def build_ggml(folder: Path) -> Path:
    """Compile the library that one with NEEDS_GGML needs."""
    folder.mkdir(parents=True, exist_ok=True)
    return compile_shared(HERE / "fake_ggml.c", folder / f"libggml-base{_SUFFIX}")


def compile_shared(source: Path, target: Path, *flags: str) -> Path:
    """A shared library from one file, without warnings."""
    assert COMPILER is not None
    strict = ("-Wall", "-Wextra", "-Werror", "-std=gnu11", "-O1")
    command = [COMPILER, "-shared", "-fPIC", *strict, str(source), "-o", str(target), *flags]
    subprocess.run(command, check=True, timeout=PATIENCE_S)
    return target
