"""Which engine speaks, in which quantisation, and why."""

from pathlib import Path
from typing import Any

import pytest

from fishs2.bootstrap import torch_install
from fishs2.bootstrap.files import listening_model
from fishs2.bootstrap.hardware import Gpu, Hardware, parse_nvidia_smi
from fishs2.bootstrap.memory import needed_bytes
from fishs2.bootstrap.plan import Plan, check_installed, choose_quant, make_plan
from fishs2.bootstrap.progress import Progress
from fishs2.bootstrap.torch_install import choose_index, install_torch
from fishs2.engines.s2cpp.bundle import library_name
from fishs2.errors import DownloadError, SettingsError
from fishs2.settings import Settings
from tests import serving

NOTHING = Hardware((), has_vulkan=False, has_metal=False)
MAC = Hardware((), has_vulkan=False, has_metal=True)


def card(free_gb: float, *, driver: str = "580.65", capability: float = 8.6) -> Gpu:
    return Gpu("NVIDIA RTX 3060", driver, 12_000_000_000, int(free_gb * 1e9), capability)


def with_card(free_gb: float = 11) -> Hardware:
    return Hardware((card(free_gb),), has_vulkan=True, has_metal=False)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch_install, "find_checkout", lambda: tmp_path)


def make_settings(**settings: Any) -> Settings:
    """Settings of a program whose home is the current folder."""
    return serving.make_settings(home=Path.cwd(), **settings)


def plan(
    hardware: Hardware = NOTHING, *, torch: bool = True, may_download: bool = True, **settings: Any
) -> Plan:
    return make_plan(
        make_settings(**settings), hardware, has_torch=torch, may_download=may_download
    )


@pytest.mark.parametrize(
    ("hardware", "settings", "engine", "backend"),
    [
        (NOTHING, {}, "builtin", "cpu"),
        (with_card(), {}, "s2", "cuda"),
        (MAC, {}, "s2", "metal"),
        (with_card(), {"engine": "builtin"}, "builtin", "cpu"),
        (NOTHING, {"engine": "s2"}, "s2", "cpu"),
        (NOTHING, {"backend": "cpu"}, "builtin", "cpu"),
        (with_card(), {"backend": "cpu"}, "builtin", "cpu"),
        (NOTHING, {"model_path": Path("m.gguf")}, "s2", "cpu"),
        (NOTHING, {"model_path": Path("m.gguf"), "backend": "cpu"}, "s2", "cpu"),
        (MAC, {"backend": "metal"}, "s2", "metal"),
        (with_card(), {"backend": "vulkan"}, "s2cpp", "vulkan"),
        (MAC, {"engine": "s2", "backend": "metal"}, "s2", "metal"),
        (NOTHING, {"engine": "builtin", "backend": "vulkan"}, "builtin", "cpu"),
        (NOTHING, {"backend": "cuda", "skip_gpu_check": True}, "s2", "cuda"),
        (NOTHING, {"backend": "cuda", "require_nvidia_gpu": False}, "s2", "cuda"),
    ],
)
def test_auto_follows_hardware_and_settings(
    hardware: Hardware, settings: dict[str, Any], engine: str, backend: str
) -> None:
    made = plan(hardware, **settings)

    assert (made.engine, made.backend) == (engine, backend)
    assert made.reason


def test_cuda_without_a_card_blocks_and_says_what_was_looked_for() -> None:
    with pytest.raises(SettingsError, match="nvidia-smi is missing or lists no card"):
        plan(backend="cuda")


def lay_down_bundle(folder: Path, *ggml: str) -> None:
    """A library in the default folder, built for what is named."""
    runtime = folder / "runtime" / "fishs2sharp"
    runtime.mkdir(parents=True)
    suffix = Path(library_name()).suffix
    for name in (library_name(), *(f"libggml-{each}{suffix}" for each in ("base", *ggml))):
        (runtime / name).write_bytes(b"content")


@pytest.mark.parametrize(
    ("hardware", "backend", "ggml", "place"),
    [
        (NOTHING, "auto", ["vulkan"], "cpu"),
        (Hardware((), has_vulkan=True, has_metal=False), "auto", ["vulkan"], "vulkan"),
        (with_card(), "auto", ["vulkan", "cuda"], "cuda"),
        (with_card(), "auto", ["vulkan"], "vulkan"),
        (MAC, "auto", ["metal"], "metal"),
        (NOTHING, "vulkan", [], "vulkan"),
        (with_card(), "cpu", ["cuda"], "cpu"),
    ],
)
def test_library_computes_where_its_files_and_the_machine_can(
    hardware: Hardware, backend: str, ggml: list[str], place: str, tmp_path: Path
) -> None:
    lay_down_bundle(tmp_path, *ggml)

    made = plan(hardware, engine="s2cpp", backend=backend, torch=False)

    assert (made.engine, made.backend) == ("s2cpp", place)


@pytest.mark.parametrize(
    ("hardware", "settings", "said"),
    [
        (NOTHING, {"backend": "metal"}, ["Apple silicon", "--backend cpu or --backend auto"]),
        (with_card(), {"backend": "metal", "engine": "s2"}, ["--backend cuda, "]),
        (NOTHING, {"backend": "metal", "engine": "s2cpp"}, ["Apple silicon"]),
        (NOTHING, {"backend": "metal", "model_path": Path("m.gguf")}, ["Apple silicon"]),
        (NOTHING, {"backend": "vulkan", "engine": "s2"}, ["--engine s2cpp"]),
        (MAC, {"backend": "vulkan", "engine": "s2"}, ["--engine s2cpp", "--backend metal"]),
        (NOTHING, {"backend": "cuda", "engine": "s2cpp"}, ["nvidia-smi"]),
    ],
)
def test_backend_that_cannot_work_here_is_refused_with_one_that_can(
    hardware: Hardware, settings: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(SettingsError) as refusal:
        plan(hardware, **settings)

    assert f"--backend {settings['backend']}" in refusal.value.message
    for word in said:
        assert word in refusal.value.message


def check(*, torch: bool = True, may_download: bool = False, **wish: Any) -> None:
    """Whether the engine that is wished for is installed."""
    settings = make_settings(**wish)
    made = make_plan(settings, with_card(), has_torch=torch, may_download=may_download)
    check_installed(settings, made, has_torch=torch, may_download=may_download)


@pytest.mark.parametrize("wish", [{"backend": "vulkan"}, {"engine": "s2cpp"}])
def test_library_that_is_missing_is_refused_unless_it_can_be_had(
    wish: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"no {library_name()} in .*FISHS2_RUNTIME_DIR"):
        check(**wish)
    url = "https://a.invalid/b.zip"
    with pytest.raises(SettingsError, match="fetch --engine s2cpp"):
        check(**wish, runtime_zip_url=url)

    check(**wish, runtime_zip_url=url, may_download=True)
    lay_down_bundle(tmp_path, "vulkan")
    check(**wish)


def test_library_that_was_built_for_something_else_is_refused(tmp_path: Path) -> None:
    lay_down_bundle(tmp_path, "cuda")

    with pytest.raises(SettingsError, match=r"built for cuda, cpu.*--backend cuda"):
        check(backend="vulkan")


@pytest.mark.parametrize("wish", [{"engine": "s2"}, {"backend": "cuda"}, {"model_path": Path("m")}])
def test_s2_without_torch_is_refused_unless_it_can_be_had(wish: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="PyTorch"):
        check(**wish, torch=False)

    check(**wish, torch=False, may_download=True)


@pytest.mark.parametrize("backend", ["cuda", "metal"])
def test_card_that_was_asked_for_never_means_another_engine(backend: str) -> None:
    hardware = MAC if backend == "metal" else with_card()

    made = plan(hardware, backend=backend, torch=False, may_download=False)

    assert (made.engine, made.backend) == ("s2", backend)


def test_card_without_model_or_torch_speaks_builtin_and_says_how_to_get_s2(tmp_path: Path) -> None:
    made = plan(with_card(), may_download=False)
    assert made.engine == "builtin"
    assert "bash run.sh --engine s2" in made.hint

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "s2-pro-q8_0.gguf").touch()

    assert plan(with_card(), may_download=False).engine == "s2"
    assert plan(with_card(), may_download=False, torch=False).engine == "builtin"


@pytest.mark.parametrize(
    ("free_gb", "quant"),
    [
        (None, "q8_0"),
        (23, "q8_0"),
        (8.3, "q8_0"),
        (8.1, "q4_k_m"),
        (6.8, "q4_k_m"),
        (2, "q4_k_m"),
    ],
)
def test_best_quantisation_that_fits_is_chosen(free_gb: float | None, quant: str) -> None:
    gpus = () if free_gb is None else (card(free_gb),)

    chosen, reason = choose_quant(make_settings(), gpus)

    assert chosen == quant
    assert "needs about" in reason


def test_quantisation_that_is_there_is_used_if_it_fits(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "s2-pro-q4_k_m.gguf").touch()

    assert choose_quant(make_settings(), (card(11),))[0] == "q4_k_m"
    (tmp_path / "models" / "s2-pro-q6_k.gguf").touch()
    assert choose_quant(make_settings(), (card(11),))[0] == "q6_k"
    assert choose_quant(make_settings(), (card(8.3),))[0] == "q4_k_m"
    chosen, reason = choose_quant(make_settings(model_quant="f16"), (card(5.2),))
    assert chosen == "f16"
    assert "needs about 12.5 GB, and 5.2 GB are free on the card, so it may not fit" in reason


@pytest.mark.parametrize("engine", ["auto", "s2"])
@pytest.mark.parametrize("there", [(), ("q2_k",), ("f16", "q8_0", "q6_k", "q3_k")])
@pytest.mark.parametrize("max_seq", [512, 4_096, 16_384])
@pytest.mark.parametrize("total_gb", [4, 6, 8, 12, 24, 80])
def test_no_plan_takes_more_than_is_free_on_the_card(
    total_gb: float, max_seq: int, there: tuple[str, ...], engine: str, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    for quant in there:
        (tmp_path / "models" / f"s2-pro-{quant}.gguf").touch()
    free_gb = 0.93 * total_gb  # what a driver and a desktop leave

    made = plan(with_card(free_gb), engine=engine, max_seq=max_seq)

    if made.backend == "cuda":
        assert needed_bytes(made.quant, max_positions=max_seq) <= free_gb * 1e9
    else:
        assert needed_bytes("q4_k_m", max_positions=max_seq) > free_gb * 1e9
        assert made.engine == ("builtin" if engine == "auto" else "s2")
        assert f"{free_gb:.1f} GB are free on the card" in made.reason + made.hint


def test_card_that_is_named_is_used_and_its_shortage_said() -> None:
    made = plan(with_card(3.7), backend="cuda")

    assert (made.engine, made.backend) == ("s2", "cuda")
    assert "3.7 GB are free on the card, so it may not fit" in made.quant_reason


def test_nvidia_smi_of_old_drivers_is_read_too() -> None:
    answer = "RTX 3060, 580.65, 12288, 11000, 8.6\nGTX 1080, 470.1, 8192, 8000\nOdd, 1, [N/A], 3\n"

    gpus = parse_nvidia_smi(answer)

    assert [(gpu.name, gpu.compute_capability) for gpu in gpus] == [
        ("RTX 3060", 8.6),
        ("GTX 1080", 0.0),
    ]


@pytest.mark.parametrize(
    ("gpu", "system", "ending"),
    [
        (card(8), "linux", None),
        (card(8), "win32", "cu130"),
        (card(8, driver="535.1"), "linux", "cu126"),
        (card(8, driver="535.1"), "win32", "cu126"),
        (card(8, capability=6.1), "linux", "cu126"),
        (card(8, capability=0.0), "linux", None),
        (None, "win32", None),
        (None, "linux", None),
        (None, "darwin", None),
    ],
)
def test_torch_comes_from_the_index_that_fits_the_card(
    gpu: Gpu | None, system: str, ending: str | None
) -> None:
    index = choose_index(make_settings(), [gpu] if gpu else [], system)

    assert (index is None) if ending is None else str(index).endswith(ending)


def test_index_of_the_settings_wins() -> None:
    settings = make_settings(torch_index_url="https://mirror.invalid/whl")

    assert choose_index(settings, [card(8)], "win32") == "https://mirror.invalid/whl"


def install(settings: Settings, outcomes: list[int]) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: Any) -> int:
        commands.append(list(command))
        return outcomes.pop(0)

    install_torch(settings, [], Progress(), run)
    return commands


def test_torch_is_installed_before_the_extra_and_within_the_pins(tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").touch()
    (tmp_path / "pyproject.toml").touch()

    torch, extra = install(make_settings(torch_index_url="https://m.invalid"), [0, 0])

    assert torch[-3:] == ["torch", "--index-url", "https://m.invalid"]
    assert extra[-1] == f"{tmp_path}[s2]"
    assert all("--constraint" in command for command in (torch, extra))


def test_pip_that_fails_is_a_clear_error() -> None:
    with pytest.raises(DownloadError, match="--engine builtin"):
        install(make_settings(), [1])


def test_model_that_listens_is_a_size_or_a_folder(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()

    def settings(given: str) -> Settings:
        return serving.make_settings(home=tmp_path, asr_model=given)

    assert listening_model(settings(" Base ")) == ("base", tmp_path / "models" / "whisper-base")
    assert listening_model(settings("mine")) == ("mine", own)
    assert listening_model(settings("models/other")) == ("other", tmp_path / "models" / "other")
    assert listening_model(settings(str(own))) == ("mine", own)
    with pytest.raises(SettingsError, match=r"neither a folder nor a size; sizes are tiny, .*base"):
        listening_model(settings("bsae"))
