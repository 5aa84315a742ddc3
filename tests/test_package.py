"""What the package promises to those who import it."""

import tomllib
from pathlib import Path

import fishs2

ROOT = Path(__file__).resolve().parent.parent


def test_version_is_the_one_in_the_changelog() -> None:
    assert f"## {fishs2.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    wanted += project["optional-dependencies"]["s2"]
    names = {re_name(line) for line in wanted}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re_name(line) for line in pins if "==" in line}

    # Each build of PyTorch for NVIDIA cards wants a Triton of its own.
    assert names - {"triton"} <= pinned


def re_name(requirement: str) -> str:
    """The name in a requirement line, as the package index compares names."""
    for end, char in enumerate(requirement):
        if not (char.isalnum() or char in "-_."):
            return requirement[:end].lower().replace("_", "-")
    return requirement.lower()
