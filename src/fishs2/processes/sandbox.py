"""Limits that a worker sets itself before it reads what nobody has vetted.

On POSIX: nothing more can be opened, and each piece of work has so much CPU time and memory.
Windows has none of it; the clock of the server is the limit there.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Named by platform, so that mypy knows what each has.
if sys.platform == "win32":

    class Sandbox:
        """No limits."""

        def close_doors(self) -> None:
            """Nothing to be done."""

        def give_back_memory(self) -> int:
            """Unknown."""
            return 0

        @contextmanager
        def limits(self, cpu_s: float, memory_bytes: int) -> Iterator[None]:
            """No limits."""
            yield

else:
    import resource

    class Sandbox:
        """The limits of this process. Made while files can still be opened."""

        def __init__(self) -> None:
            self._statm: int | None = None
            with suppress(OSError):  # Linux has it
                self._statm = os.open("/proc/self/statm", os.O_RDONLY)
            # glibc has it, and by itself keeps what lies between blocks that are in use.
            self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

        def close_doors(self) -> None:
            """From here on no file and no connection can be opened; what is open stays so."""
            for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
                with suppress(ValueError, OSError):
                    resource.setrlimit(kind, (0, 0))

        def give_back_memory(self) -> int:
            """Let the system have what is free; returns what is left, 0 where it does not say."""
            if self._trim is not None:
                self._trim(0)
            return self._read_memory()[1]

        @contextmanager
        def limits(self, cpu_s: float, memory_bytes: int) -> Iterator[None]:
            """End this process after so much CPU time, and let it have so much more memory.

            More memory is a MemoryError, or whatever a C library makes of it.
            """
            used = resource.getrusage(resource.RUSAGE_SELF)
            _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + cpu_s) + 2)
            if self._statm is not None:
                _set_limit(resource.RLIMIT_AS, self._read_memory()[0] + memory_bytes)
            # Exact, where the limit counts in whole seconds and is for what blocks this signal.
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                _set_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)

        def _read_memory(self) -> tuple[int, int]:
            """Addresses, and what lies behind them; in bytes. Source: proc_pid_statm(5)."""
            if self._statm is None:
                return 0, 0
            reserved, kept = os.pread(self._statm, 64, 0).split()[:2]
            page_bytes = os.sysconf("SC_PAGE_SIZE")
            return int(reserved) * page_bytes, int(kept) * page_bytes

    def _set_limit(kind: int, value: int) -> None:
        # The system may have less of it, or none at all.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
