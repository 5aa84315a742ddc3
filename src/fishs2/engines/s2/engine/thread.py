"""The thread that owns model and device, and what becomes of it when something fails.

    event loop                                engine thread "fishs2-s2"
    submit(task) ---------> inbox ----------> Core.step(), again and again
       ^                                         |
       +--- task.put (samples, end, error) <-----+

It never waits for a reader. Whatever a step raises ends the utterances in work with an error and
begins with fresh caches; after lack of memory with half as many slots.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from fishs2.engines.base import EngineStats, Pcm
from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.errors import EngineError, EngineUnavailableError, Fishs2Error, RunawaySpeechError

logger = logging.getLogger(__name__)

_LOST = "the card has failed, and only another process can use it again; restart fishs2"
_STUCK_S = 0.005
"""How often those are looked at who wait for a part of their speech that has yet to come."""


class Task(Protocol):
    """An utterance on its way through the thread."""

    @property
    def utterance(self) -> UtteranceState:
        """What is to be spoken."""
        ...

    def is_wanted(self) -> bool:
        """Whether anybody still listens."""
        ...

    def put(self, item: Pcm | Fishs2Error | None) -> None:
        """Take samples; None is the end, an error an end as well. Called in the thread."""
        ...


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is loaded, and what may be used once it is. Both are called in the thread.

    load raises Fishs2Error. idle_s: unload after so long without work, and call `on_unload`; None
    never does. is_device_lost: asked after every failure; then nothing is tried again.
    """

    load: Callable[[], Model]
    choose_limits: Callable[[Model], Limits]
    idle_s: float | None = None
    on_unload: Callable[[], None] = lambda: None
    is_device_lost: Callable[[], bool] = lambda: False


OnLoaded = Callable[[Model | Fishs2Error], None]


@dataclass(frozen=True, slots=True, eq=False)
class _LoadOrder:
    """Load the model, and say how it went."""

    on_loaded: OnLoaded


@dataclass(frozen=True, slots=True, eq=False)
class _SpeechEnd:
    """No more parts of this speech come."""

    speech: str


_Item = Task | _LoadOrder | _SpeechEnd


class EngineThread:
    """Loads the model, speaks what is submitted, and ends when it is closed."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        # Unbounded: it holds at most the utterances that the service lets in.
        self._inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fishs2-s2")
        self._tasks: dict[UtteranceState, Task] = {}
        self._core: Core | None = None
        self._limits: Limits | None = None
        self.is_closing = threading.Event()
        self.model: Model | None = None
        """None until it is loaded, and while it is unloaded."""
        self.num_restarts = 0
        self._num_runaways = 0
        self._is_lost = False

    @property
    def limits(self) -> Limits | None:
        """What the engine uses at present; None until the model was loaded."""
        return self._limits

    def stats(self) -> EngineStats:
        """What was done since the start, or since the caches were made anew."""
        core = self._core
        return replace(
            core.stats() if core else EngineStats(),
            is_loaded=self.model is not None,
            num_restarts=self.num_restarts,
            num_runaways=self._num_runaways,
            trouble=_LOST if self._is_lost else "",
            is_lost=self._is_lost,
        )

    def start(self) -> None:
        """Begin; nothing is loaded before somebody asks."""
        self._thread.start()

    def load(self, on_loaded: OnLoaded) -> None:
        """Load the model, if it is not; tells `on_loaded` in the thread."""
        self._inbox.put(_LoadOrder(on_loaded))

    def submit(self, task: Task) -> None:
        """Speak; the task hears of everything."""
        self._inbox.put(task)

    def end_speech(self, speech: str) -> None:
        """Forget a speech."""
        self._inbox.put(_SpeechEnd(speech))

    def check_device(self) -> None:
        """Find out, after a failure, whether the device can be used again. From any thread."""
        if not self._is_lost and self._loading.is_device_lost():
            logger.error(_LOST)
            self._is_lost = True

    def close(self) -> None:
        """End the thread and wait for it. What is in work ends with EngineError."""
        self.is_closing.set()
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._take_in():
            if self._core is not None and self._tasks:
                self._step(self._core)
        error = EngineError("the s2 engine was closed")
        self._end_all(error)
        self._refuse_rest(error)

    def _take_in(self) -> bool:
        """Take what has come; wait for it if there is nothing to do. False: the thread ends."""
        while not self.is_closing.is_set():
            try:
                item = self._next_item()
                if item is not None:
                    self._handle(item)
            except queue.Empty:
                if self._tasks:
                    return True
                self._unload()
        return False

    def _next_item(self) -> _Item | None:
        """What has come; waits for it if there is nothing to do. Raises queue.Empty."""
        if not self._tasks:
            return self._inbox.get(timeout=self._loading.idle_s)
        if self._core is not None and self._core.is_stuck:
            return self._inbox.get(timeout=_STUCK_S)
        return self._inbox.get_nowait()

    def _handle(self, item: _Item) -> None:
        if isinstance(item, _SpeechEnd):
            if self._core is not None:
                self._core.end_speech(item.speech)
            return
        loaded = self._ensure_loaded()
        if isinstance(item, _LoadOrder):
            item.on_loaded(loaded)
        elif isinstance(loaded, Fishs2Error):
            item.put(loaded)
        elif item.is_wanted():
            assert self._core is not None
            self._add(self._core, item)

    def _add(self, core: Core, task: Task) -> None:
        self._tasks[task.utterance] = task
        try:
            core.add(task.utterance)
        except Exception as error:
            # As in a step: whatever it is, nobody may wait for ever.
            logger.exception("the s2 engine could not take an utterance")
            self._restart(error)

    def _step(self, core: Core) -> None:
        try:
            for utterance, task in list(self._tasks.items()):
                if not task.is_wanted():
                    self._release(core, utterance)
            for utterance, pcm in core.step(self._give):
                self._give(utterance, pcm)
            for utterance, task in list(self._tasks.items()):
                if utterance.is_spoken:
                    self._release(core, utterance)
                    task.put(self._verdict(utterance))
            if core.is_idle:
                core.check_integrity()
        except Exception as error:
            # The engine outlives whatever happens to the utterances of one step.
            logger.exception("a step of the s2 engine failed")
            self._restart(error)

    def _give(self, utterance: UtteranceState, pcm: Pcm) -> None:
        self._tasks[utterance].put(pcm)

    def _verdict(self, utterance: UtteranceState) -> Fishs2Error | None:
        if utterance.fault:
            self._num_runaways += 1
            return RunawaySpeechError(f"the model ran away: {utterance.fault}")
        return None

    def _release(self, core: Core, utterance: UtteranceState) -> None:
        del self._tasks[utterance]
        core.release(utterance)

    def _restart(self, error: Exception) -> None:
        """End all utterances, and go on with fresh caches."""
        self.num_restarts += 1
        # First, so that whoever hears of the failure can know what it means.
        self.check_device()
        self._end_all(EngineError(f"the s2 engine failed: {type(error).__name__}"))
        self._core = None
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            self._halve_slots()

    def _halve_slots(self) -> None:
        if self._limits is not None:
            self._limits = self._limits.with_slots(max(1, self._limits.num_slots // 2))
            logger.warning(
                "out of memory: %d utterances at once from now on", self._limits.num_slots
            )

    def _end_all(self, error: Fishs2Error) -> None:
        for task in self._tasks.values():
            task.put(error)
        self._tasks.clear()

    def _refuse_rest(self, error: Fishs2Error) -> None:
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, _LoadOrder):
                item.on_loaded(error)
            elif isinstance(item, _SpeechEnd) or item is None:
                continue
            else:
                item.put(error)

    def _ensure_loaded(self) -> Model | Fishs2Error:
        if self._is_lost:
            return EngineUnavailableError(_LOST)
        try:
            if self.model is None:
                self.model = self._loading.load()
            if self._core is None:
                self._limits = self._limits or self._loading.choose_limits(self.model)
                self._core = self._open_core(self.model)
            return self.model
        except Fishs2Error as error:
            return error
        except Exception as error:
            # Out of memory, a driver that fails: whatever it is, whoever waits must hear of it.
            logger.exception("the model cannot be loaded")
            self.check_device()
            self.model = self._core = None
            return EngineUnavailableError(f"the model cannot be used: {type(error).__name__}")

    def _open_core(self, model: Model) -> Core:
        """Caches for as many utterances as there is memory for, warmed up."""
        while True:
            assert self._limits is not None
            try:
                return _warm_core(model, self._limits)
            except (torch.OutOfMemoryError, MemoryError):
                if self._limits.num_slots == 1:
                    raise
            # Out here, where the error no longer keeps alive what did not fit.
            self._halve_slots()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _unload(self) -> None:
        if self.model is None:
            return
        self.model = self._core = None
        try:
            self._loading.on_unload()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        except Exception:
            # The memory may not be free, but the next one who speaks must find a thread.
            logger.exception("the s2 engine could not free all memory")
        logger.info("unloaded the model, as nobody has spoken for %g s", self._loading.idle_s)


def _warm_core(model: Model, limits: Limits) -> Core:
    started_s = time.perf_counter()
    core = Core(model, limits)
    core.warm_up(model)
    logger.info("warmed up in %.1f s", time.perf_counter() - started_s)
    return core
