"""The worker's messages and its library, without a pool."""

import ctypes
import dataclasses

import espeakng_loader
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.engines.espeak.voices import read_catalogue
from fishs2.engines.espeak.worker import Espeak, Order


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    rate_wpm=st.integers(80, 449),
    pitch=st.integers(0, 99),
)
def test_order_survives_its_encoding(text: str, rate_wpm: int, pitch: int) -> None:
    order = Order(voice="gmw/en-US+Mr serious", text=text, rate_wpm=rate_wpm, pitch=pitch)

    assert Order.decode(order.encode()) == order


def test_order_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Order(voice="gmw/de", text="a").pitch = 3  # type: ignore[misc]


def test_library_that_stays_mapped_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(f"{espeakng_loader.get_data_path()}/..")
    library_path = espeakng_loader.get_library_path()
    espeak = Espeak(library_path)
    assert espeak.reload()
    second_hold = ctypes.CDLL(library_path)  # what a system does that never unloads

    assert not espeak.reload()

    second_hold.espeak_Terminate()


def test_second_voice_of_a_language_goes_by_its_file() -> None:
    catalogue = read_catalogue(
        ["sit/yue\t5:yue 8:zh", "sit/yue-Latn-jyutping\t5:yue 8:zh", "+Mr serious", "+f1"]
    )

    assert set(catalogue.voices) == {"yue", "yue-latn-jyutping"}
    assert catalogue.find("YUE+mr Serious") == "sit/yue+Mr serious"
    assert catalogue.find_language("zh", "yue-latn-jyutping") == "yue-latn-jyutping"


def test_voices_without_their_dictionary_are_left_out() -> None:
    catalogue = read_catalogue(["gmq/fo\t5:fo", "gmw/de\t5:de"])

    assert set(catalogue.voices) == {"de"}
