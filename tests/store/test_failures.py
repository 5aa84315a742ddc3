"""What the system says of a full or broken disk, in our words."""

import errno

import pytest

from fishs2.errors import StoreFullError, StoreUnavailableError
from fishs2.store.failures import store_errors


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_an_error_of_its_own(code: int) -> None:
    with pytest.raises(StoreFullError, match="the voices cannot"), store_errors("voices"):
        raise OSError(code, "text of the system", "/a/path")


@pytest.mark.parametrize(
    "code",
    [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EMFILE, errno.EIO],
)
def test_all_else_is_a_store_that_cannot_be_used(code: int) -> None:
    with pytest.raises(StoreUnavailableError) as caught, store_errors("clips"):
        raise OSError(code, "text of the system", "/a/path")

    assert not isinstance(caught.value, StoreFullError)
    assert "/a/path" not in caught.value.message


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), store_errors("clips"):
        raise ZeroDivisionError
