"""What the slow AR made of voices: keys and values of the prompt up to the text, kept for reuse.

They are copied into a slot rather than shared between slots: a copy of a voice of 30 s takes well
under a millisecond on a card, and slots need no page tables. Engine thread only.
"""

from collections import OrderedDict

from fishs2.engines.s2.engine.runner import Prefix
from fishs2.engines.s2.engine.utterance_state import UtteranceState


class PrefixCache:
    """Prefixes by their prompts, the one that was used longest ago goes first."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.num_bytes = 0
        self._prefixes: OrderedDict[bytes, Prefix] = OrderedDict()
        self.num_hits = 0
        self.num_misses = 0

    def find(self, utterance: UtteranceState) -> Prefix | None:
        """What the prompt of an utterance begins with, if it is known."""
        key = _key(utterance)
        prefix = self._prefixes.get(key)
        if prefix is None:
            self.num_misses += 1
            return None
        self.num_hits += 1
        self._prefixes.move_to_end(key)
        return prefix

    def add(self, utterance: UtteranceState, prefix: Prefix) -> None:
        """Keep what an utterance begins with, and forget others for it if need be."""
        key = _key(utterance)
        if prefix.num_bytes > self._max_bytes or key in self._prefixes:
            return
        self._prefixes[key] = prefix
        self.num_bytes += prefix.num_bytes
        while self.num_bytes > self._max_bytes:
            _, oldest = self._prefixes.popitem(last=False)
            self.num_bytes -= oldest.num_bytes


def _key(utterance: UtteranceState) -> bytes:
    # The tokens themselves: equal prefixes have equal keys and values, whoever asked for them.
    return utterance.prompt[:, : utterance.num_prefix].tobytes()
