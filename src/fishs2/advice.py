"""What messages advise: the name that was meant, and the commands that help here."""

from bisect import bisect
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from fishs2.home import find_checkout

_LIKENESS = 0.6
_MAX_CHARS = 100
_MAX_COMPARED = 250
"""Names that take 20 ms to compare, if all of them are alike."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A clause with the known name that is most like `given`; "" if none is like it.

    Of very many names only those are compared that are near it in the alphabet.
    """
    if len(given) > _MAX_CHARS:  # no slip of the fingers, and long to compare
        return ""
    names = {name.casefold(): name for name in known}
    meant = given.casefold()
    found = get_close_matches(meant, _nearest(meant, names), n=1, cutoff=_LIKENESS)
    return f"; did you mean {names[found[0]]}?" if found else ""


def _nearest(meant: str, names: Collection[str]) -> Collection[str]:
    if len(names) <= _MAX_COMPARED:
        return names
    ordered = sorted(names)
    start = max(0, bisect(ordered, meant) - _MAX_COMPARED // 2)
    return ordered[start : start + _MAX_COMPARED]


def get_s2() -> str:
    """The command that brings the s2 engine here."""
    return "bash run.sh --engine s2" if find_checkout() else "pip install 'fishs2[s2]'"


def start_server() -> str:
    """The command that starts a server here."""
    return "bash run.sh" if find_checkout() else "fishs2 serve"
