import pytest

from fishs2.runtime import server_options
from tests.serving import make_settings


@pytest.mark.parametrize(
    ("upload_bytes", "body_bytes"), [(104_857_600, 33_554_432), (1_000_000, 1_000_000)]
)
def test_a_body_is_bounded_even_where_uploads_are_large(upload_bytes: int, body_bytes: int) -> None:
    options = server_options(make_settings(max_upload_bytes=upload_bytes))

    assert options.max_body_bytes == body_bytes
    assert options.max_upload_bytes == upload_bytes
