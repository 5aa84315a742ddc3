"""Caches stay inside the project."""

from pathlib import Path

from fishs2.bootstrap.caches import keep_caches_inside


def test_every_cache_lies_in_the_project(tmp_path: Path) -> None:
    environment: dict[str, str] = {"TMPDIR": "/somewhere/else"}

    keep_caches_inside(tmp_path, environment)

    assert environment["PIP_CACHE_DIR"] == str(tmp_path / ".pip-cache")
    assert environment["RATTLER_CACHE_DIR"] == str(tmp_path / ".pixi-cache" / "rattler")
    assert environment["HF_HOME"] == str(tmp_path / ".hf")
    assert environment["TMPDIR"] == str(tmp_path / ".tmp")
    assert all(Path(value).is_relative_to(tmp_path) for value in environment.values())
    assert all(Path(value).is_dir() for value in environment.values())


def test_what_a_launcher_has_set_stays(tmp_path: Path) -> None:
    given = {"HF_HOME": "/h", "PIP_CACHE_DIR": "/p", "PIXI_CACHE_DIR": "/x", "XDG_CACHE_HOME": "/c"}
    environment = dict(given)

    keep_caches_inside(tmp_path, environment)

    assert {name: environment[name] for name in given} == given
    assert "HF_HUB_CACHE" not in environment
