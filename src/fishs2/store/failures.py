"""What the system's errors mean for whoever wants something kept: no room, or no use at present."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fishs2.errors import StoreFullError, StoreUnavailableError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn an OSError of the block into StoreFullError or StoreUnavailableError.

    what: what is kept, in the plural. A path is not repeated: clients may see the message.
    """
    try:
        yield
    except OSError as error:
        kind = StoreFullError if error.errno in _NO_ROOM else StoreUnavailableError
        raise kind(f"the {what} cannot be read or written: {reason_of(error)}") from error


def reason_of(error: OSError) -> str:
    """Why, for people, without a path."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file is where a folder should be"
    # Those that stand for several, of copying a folder, have no number.
    return os.strerror(error.errno) if error.errno else "some files cannot be copied"
