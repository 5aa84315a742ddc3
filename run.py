"""Start the server from a checkout: environment, hardware check, downloads, server.

Runs under any Python from 3.11 on. If that has no fishs2, it makes `.venv` and goes on there; in a
pixi or conda environment with fishs2 it stays. Everything up to then is standard library.
"""

import argparse
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from scripts.environment import (
    ROOT,
    STOPPED,
    EnvironmentFailedError,
    interpreter,
    is_made,
    keep_caches_inside,
    make_environment,
)


def main() -> int:
    """Returns the exit status: 2 for wrong flags, 1 if the server cannot start."""
    flags = parse_flags(sys.argv[1:])
    if flags.pixi_path and not Path(flags.pixi_path).is_file():
        return fail(f"--pixi-path {flags.pixi_path}: there is no such file")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    keep_caches_inside()
    if not is_foreign_environment():
        # A Python does not find the packages that came after it had started.
        has_packages = is_in_own_environment() and is_made()
        try:
            python = make_environment()
        except EnvironmentFailedError as error:
            return fail(str(error))
        if not has_packages:
            return go_on_in(python)
    from fishs2.cli.launch import launch

    return launch(
        {
            "host": flags.host,
            "port": flags.port,
            "engine": flags.engine,
            "backend": flags.backend,
            "model_quant": "q4_k_m" if flags.model_q4 else flags.model_quant,
            "n_gpu_layers": flags.n_gpu_layers,
            # A flag that is not given leaves the word to the environment.
            "wyoming": flags.wyoming or None,
            "skip_gpu_check": flags.skip_gpu_check or None,
            "skip_downloads": flags.skip_downloads or None,
            "force_downloads": flags.force_downloads or None,
        }
    )


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; ends the program with 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        # As people were told to start it.
        prog="run.bat" if os.name == "nt" else "run.sh",
        description="Start the server.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", help="address to listen on (FISHS2_HOST, 0.0.0.0)")
    add("--port", type=int, help="port to listen on (FISHS2_PORT, 8020)")
    engines = ["auto", "builtin", "s2", "s2cpp"]
    add("--engine", choices=engines, help="what speaks (FISHS2_ENGINE, auto)")
    add(
        "--backend",
        choices=["auto", "cuda", "vulkan", "metal", "cpu"],
        help="where S2 Pro computes (FISHS2_BACKEND, auto)",
    )
    add("--wyoming", action="store_true", help="serve Home Assistant too (FISHS2_WYOMING)")
    quant = parser.add_mutually_exclusive_group()
    quant.add_argument(
        "--model-quant",
        help="f16, q8_0, q6_k, q5_k_m, q4_k_m, q3_k or q2_k (FISHS2_MODEL_QUANT, what fits)",
    )
    quant.add_argument("--model-q4", action="store_true", help="the same as --model-quant q4_k_m")
    add("--n-gpu-layers", type=int, help="layers on the card, for the s2.cpp library; -1 is all")
    add("--skip-gpu-check", action="store_true", help="do not insist on a card for cuda")
    add("--skip-downloads", action="store_true", help="use what is there (FISHS2_SKIP_DOWNLOADS)")
    add("--force-downloads", action="store_true", help="download what is there again")
    add("--pixi-path", help="the pixi program, for launchers that bring their own")
    return parser.parse_args(arguments)


def is_foreign_environment() -> bool:
    """Whether this is an environment that somebody else keeps, with fishs2 in it."""
    is_kept = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
    return not is_in_own_environment() and is_kept and find_spec("fishs2") is not None


def is_in_own_environment() -> bool:
    return Path(sys.prefix).resolve() == interpreter().parents[1].resolve()


def go_on_in(python: Path) -> int:
    """Run this again with another interpreter, in place of this program where that is possible."""
    command = [str(python), str(ROOT / "run.py"), *sys.argv[1:]]
    if os.name != "nt":
        sys.stderr.flush()
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode


def fail(message: str) -> int:
    print(f"fishs2: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - nothing has checked it before
        sys.exit("fishs2 needs Python 3.11 or newer; install it and run this again.")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print(f"\nfishs2: {STOPPED}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
