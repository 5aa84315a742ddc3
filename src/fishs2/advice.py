"""What messages advise: the name that was meant, and the commands that help here."""

from collections.abc import Iterable
from difflib import get_close_matches

from fishs2.home import find_checkout

_LIKENESS = 0.6
_MAX_CHARS = 100


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A clause with the known name that is most like `given`; "" if none is like it."""
    if len(given) > _MAX_CHARS:  # no slip of the fingers, and long to compare
        return ""
    names = {name.casefold(): name for name in known}
    found = get_close_matches(given.casefold(), names, n=1, cutoff=_LIKENESS)
    return f"; did you mean {names[found[0]]}?" if found else ""


def get_s2() -> str:
    """The command that brings the s2 engine here."""
    return "bash run.sh --engine s2" if find_checkout() else "pip install 'fishs2[s2]'"


def start_server() -> str:
    """The command that starts a server here."""
    return "bash run.sh" if find_checkout() else "fishs2 serve"
