"""The processes that run eSpeak: orders in, speech out, whatever happens to one of them.

Here lives how `espeak.worker` is started and what its failures mean; the rest is `processes.pool`'s
matter. Nothing about voices' names or references.
"""

import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import espeakng_loader

import fishs2
from fishs2.engines.espeak.worker import Order, Speech
from fishs2.errors import EngineError, EngineLostError, EngineUnavailableError
from fishs2.processes.child import Program
from fishs2.processes.pool import NoTurnError, PoolLimits, RefusedError, WorkerPool
from fishs2.processes.supervisor import LostError, NoWorkerError

_logger = logging.getLogger(__name__)

_REMEDY = "reinstall it with: pip install --force-reinstall espeakng-loader"
if sys.platform == "win32":
    _REMEDY += " and install the Microsoft Visual C++ Redistributable, which it needs"

_BROKEN = f"eSpeak NG cannot be loaded; {_REMEDY}"

_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from fishs2.engines.espeak.worker import main; main(sys.argv[2])"
)

LIMITS = PoolLimits(start_s=20.0, stall_s=10.0, abort_s=2.0, turn_s=60.0)
"""To load eSpeak takes 0.05 s; a cold disk and a virus scanner take the rest. Between two messages
of an order are 0.2 ms; 100 long orders ahead of one take less than its turn."""


class EspeakPool:
    """eSpeak in processes that start together. Usable between `start` and `close`."""

    def __init__(self, num_workers: int, limits: PoolLimits = LIMITS) -> None:
        self._limits = limits
        self._pool = WorkerPool(_make_program, num_workers, limits, name="eSpeak", broken=_BROKEN)

    @property
    def num_restarts(self) -> int:
        """How often a worker was lost and replaced."""
        return self._pool.num_restarts

    @property
    def num_busy(self) -> int:
        """Workers that speak."""
        return self._pool.num_busy

    @property
    def trouble(self) -> str:
        """Why nothing can be spoken at present; "" if it can."""
        return self._pool.trouble

    async def start(self) -> list[str]:
        """Start all workers; return the READY lines (voices and variants).

        Raises EngineUnavailableError when a worker cannot load eSpeak.
        """
        try:
            return (await self._pool.start()).decode().split("\n")
        except LostError as error:
            raise EngineUnavailableError(
                f"eSpeak NG cannot be started: its process {error}; {_REMEDY}"
            ) from None

    async def speak(self, order: Order) -> AsyncGenerator[Speech]:
        """Yield the speech of `order`, piece by piece; nothing for text without a sound.

        Raises EngineError; EngineLostError when the worker dies or stalls. Closing the generator
        stops the worker within one piece.
        """
        try:
            async with aclosing(self._pool.ask(order.encode())) as pieces:
                async for piece in pieces:
                    yield Speech.decode(piece)
        except LostError as error:
            raise EngineLostError(f"eSpeak's process {error} while it spoke") from None
        except RefusedError as error:
            _logger.error("eSpeak refused an order: %s", error)
            raise EngineError("eSpeak could not speak this text in this voice") from None
        except NoTurnError:
            raise EngineError(
                f"no eSpeak worker became free within {self._limits.turn_s:.0f} s; "
                "the log says why workers are lost"
            ) from None
        except NoWorkerError as error:
            raise EngineUnavailableError(str(error)) from None

    async def close(self) -> None:
        """End every worker and every order; speech under way fails with EngineError."""
        await self._pool.close()


def _make_program() -> Program:
    """A worker. Raises EngineUnavailableError where eSpeak is not there."""
    try:
        library, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    except RuntimeError as error:
        _logger.error("eSpeak cannot be found: %s", error)
        raise EngineUnavailableError(_BROKEN) from error
    package = str(Path(fishs2.__file__).resolve().parents[1])
    # -I and -S: nobody's PYTHONPATH, and no site-packages to search; 12 ms to start.
    command = (sys.executable, "-I", "-S", "-c", _START, package, library)
    return Program("eSpeak", command, folder=Path(data).parent)
