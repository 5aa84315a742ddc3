"""What run.py does once the packages are there: plan, install, download, serve."""

import signal
import sys
from importlib import invalidate_caches
from pathlib import Path

from fishs2.bootstrap.artifacts import fetch_artifacts, needed_artifacts
from fishs2.bootstrap.download import only_one
from fishs2.bootstrap.hardware import find_nvidia_gpus
from fishs2.bootstrap.plan import Plan, describe_plan, has_torch, plan_here
from fishs2.bootstrap.progress import Progress
from fishs2.bootstrap.torch_install import install_torch
from fishs2.errors import Fishs2Error
from fishs2.settings import Settings, export_other_lines, load_settings


def launch(flags: dict[str, str | int | None]) -> int:
    """Run everything to the end of the server. Returns the exit status: 1 if it cannot start.

    flags: settings by name; None is not given.
    """
    # So that a program that we wait for, pip above all, is ended with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Progress()
    try:
        export_other_lines()
        settings = load_settings(**flags)
        plan = plan_here(settings, may_download=not settings.skip_downloads)
        try:
            prepare(settings, plan, progress)
        except KeyboardInterrupt:
            progress.say("\nfishs2: stopped; what has come is kept, and the next start goes on")
            return 128 + signal.SIGINT
        # Imported here: an environment that is broken must not hide what stands above.
        from fishs2.cli.serve import run_server

        run_server(settings, plan)
    except Fishs2Error as error:
        progress.say(f"fishs2: {error.message}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def prepare(settings: Settings, plan: Plan, progress: Progress) -> None:
    """Install and download what the plan needs. Raises DownloadError."""
    if plan.engine == "builtin" or settings.skip_downloads:
        return
    progress.say(f"engine {plan.engine} on {plan.backend}: {describe_plan(plan)}")
    if plan.engine == "s2" and not has_torch():
        _install_torch(settings, plan, progress)
    needed = needed_artifacts(settings, plan.quant, engine=plan.engine)
    fetch_artifacts(needed, progress, force=settings.force_downloads)


def _install_torch(settings: Settings, plan: Plan, progress: Progress) -> None:
    """Install PyTorch; of several starts at once, one does and the others wait."""
    with only_one(Path(sys.prefix) / "fishs2-torch", progress):
        invalidate_caches()  # another may have installed it meanwhile
        if not has_torch():
            gpus = find_nvidia_gpus() if plan.backend == "cuda" else []
            install_torch(settings, gpus, progress)
