"""The eSpeak processes of this one; other tests may have servers running meanwhile."""

import psutil


def find_workers() -> list[psutil.Process]:
    """Those that this process started itself, and what is left of them until it has noticed."""
    return [child for child in psutil.Process().children() if _is_worker(child)]


def _is_worker(child: psutil.Process) -> bool:
    try:
        return any("fishs2.engines.espeak.worker" in argument for argument in child.cmdline())
    except psutil.ZombieProcess:
        return True
    except psutil.NoSuchProcess:
        return False
