"""What is around the code: hooks, CI, templates, links."""

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishs2.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"
HOOKS = ROOT / ".pre-commit-config.yaml"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps_of(folder: Path, *arguments: str) -> list[str]:
    """The commands that a copy of test.sh runs, by a Python that only writes down its arguments."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "test.sh", folder)
    python, asked = folder / "python", folder / "asked"
    python.write_text(f'#!/bin/sh\necho "$@" >> "{asked}"\n')
    python.chmod(0o755)
    (folder / "scripts" / "find_python.sh").write_text("find_python() { echo find; }\n")
    (folder / "find").write_text(f'#!/bin/sh\necho "{python}"\n')
    (folder / "find").chmod(0o755)
    subprocess.run(
        ["bash", "test.sh", *arguments],
        cwd=folder,
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return asked.read_text().splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="the Python that is made up is a shell script")
def test_a_commit_is_checked_by_all_that_test_sh_runs_before_the_tests(tmp_path: Path) -> None:
    hooks = [each for repo in read_yaml(HOOKS)["repos"] for each in repo["hooks"]]
    (tmp_path / "all").mkdir()
    (tmp_path / "quick").mkdir()

    assert [hook["entry"] for hook in hooks] == ["bash test.sh --quick"]
    *before, last = steps_of(tmp_path / "all")
    assert steps_of(tmp_path / "quick", "--quick") == before
    assert last.startswith("-m pytest")
    modules = {"ruff", "mypy", "importlinter", "scripts/docs.py"}
    assert {each for each in modules if any(each in step for step in before)} == modules


def test_git_overlooks_what_the_examples_write() -> None:
    text = "".join(
        (ROOT / each).read_text(encoding="utf-8") for each in ("README.md", "docs/api.md")
    )
    examples = "".join(re.findall(r"```(?:bash|python)\n(.*?)```", text, re.S))
    written = set(
        re.findall(r"""(?:-o |> |"|, ")(\w+\.(?:wav|mp3|ogg|flac|json|txt|gif))""", examples)
    )
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {"hello.wav", "stream.ogg", "cover.gif", "times.txt"} <= written
    assert not {name for name in written if not any(fnmatch(f"/{name}", each) for each in ignored)}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/api.md", "docs/engines.md"])
def test_examples_call_the_port_that_is_the_default(name: str) -> None:
    ports = re.findall(r"//127\.0\.0\.1:(\d+)", (ROOT / name).read_text(encoding="utf-8"))

    assert {int(port) for port in ports} <= {Settings.model_fields["port"].default}


def test_walks_are_short_and_name_what_is_there() -> None:
    text = "".join(
        (ROOT / "docs" / each).read_text(encoding="utf-8") for each in ("architecture.md", "s2.md")
    )
    walks = dict(re.findall(r"^## Walk: (.*?)\n(.*?)(?=^## )", text, re.S | re.M))
    named = set(re.findall(r"`([A-Za-z_][\w./]*)`", "".join(walks.values())))
    source = ROOT / "src" / "fishs2"
    modules = sorted(source.rglob("*.py"))
    parts = {part for each in modules for part in each.relative_to(source).with_suffix("").parts}
    words = {word for each in modules for word in re.findall(r"\w+", each.read_text("utf-8"))}

    assert set(walks) == {
        "POST /v1/audio/speech",
        "WS /v1/tts/live",
        "a request with a key",
        "a voice upload",
        "Home Assistant",
        "when words sound",
        "a decode step",
    }
    assert all(walk.count("\n") < 40 for walk in walks.values())
    assert not {
        name
        for name in named
        for part in re.split(r"[./]", name.removesuffix(".py"))
        if part not in words | parts
    }


def test_hooks_fetch_nothing() -> None:
    assert {repo["repo"] for repo in read_yaml(HOOKS)["repos"]} == {"local"}
    assert all(hook["language"] == "system" for hook in read_yaml(HOOKS)["repos"][0]["hooks"])


def test_ci_runs_the_one_line_on_every_system_and_python() -> None:
    job = read_yaml(GITHUB / "workflows" / "test.yml")["jobs"]["test"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = job["strategy"]["matrix"]["python"]

    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert "bash test.sh" in runs
    assert f">={pythons[0]}" == project["requires-python"]
    # Read from YAML without quotes, 3.10 would be the number 3.1.
    assert all(isinstance(each, str) for each in pythons)
    assert set(job["strategy"]["matrix"]["system"]) == {"ubuntu", "windows", "macos"}


@pytest.mark.parametrize(
    "form", sorted(GITHUB.glob("ISSUE_TEMPLATE/*.md")), ids=lambda form: form.name
)
def test_a_form_for_issues_has_what_github_wants(form: Path) -> None:
    _, head, body = form.read_text(encoding="utf-8").split("---\n", 2)

    assert {"name", "about", "labels"} == set(yaml.safe_load(head))
    assert body.strip()


@pytest.mark.parametrize(
    "page",
    [*GITHUB.rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")],
    ids=lambda page: page.name,
)
def test_files_that_a_form_names_are_there(page: Path) -> None:
    # GitHub shows forms at an address of its own, where relative links lead nowhere: names only.
    for name in re.findall(r"`([\w./-]+\.(?:md|py|sh|toml))`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


def test_every_change_of_the_changelog_to_come_is_a_line_of_it() -> None:
    for file in (ROOT / "changelog.d").glob("*.md"):
        if file.name != "README.md":
            assert file.read_text(encoding="utf-8").startswith("* "), file.name
