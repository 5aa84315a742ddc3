"""Write what documents take from the code; with --check, find documents that lie.

Written are docs/settings.md, docs/cli.md and the list of modules in docs/architecture.md. --check
fails when one of them is stale, a relative link points nowhere, docs/api.md lacks a route, field,
header or error code that the server has, the picture in docs/architecture.md has another folder
than the code, or nothing says where a module is tested.
"""

import ast
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import typer
from settings_readers import sort_settings
from typer.core import TyperGroup
from typer.main import get_command

from fishs2.cli.main import app as cli
from fishs2.runtime import choose_engine, open_services, server_options
from fishs2.server.app import create_app
from fishs2.settings import Settings
from fishs2.settings_sources import ENV_PREFIX
from fishs2.settings_values import allowed_values

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "fishs2"
TESTS = ROOT / "tests"
_MODULES_BEGIN, _MODULES_END = "<!-- modules: made by scripts/docs.py -->\n", "<!-- end -->\n"


def _describe_setting(name: str) -> str:
    field = Settings.model_fields[name]
    default = None if field.default_factory else field.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if isinstance(default, bool):
        default = str(default).lower()
    shown = "" if default in (None, "") else f"`{default}`"
    return (
        f"| `{ENV_PREFIX}{name.upper()}` | {shown} | {allowed_values(field)} | "
        f"{field.description} |"
    )


def write_settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Made from `src/fishs2/settings_groups` by `scripts/docs.py`; do not edit.",
        "",
        "A setting is an environment variable, or a line in `.env` in the home folder: the",
        "checkout, or for an installed package the system's folder for the data of programs, or",
        "what `FISHS2_HOME` names. Relative paths are taken from there, whatever the current",
        "folder is. The environment wins over `.env`, and a command-line flag over both; an empty",
        "value is none. A wrong value stops the start and says what is allowed, and so does a line",
        "of `.env` that cannot be read. An unknown name that starts with `FISHS2_` is warned of;",
        "if an older version knew it, with what holds instead.",
        "",
        "Lists are written with commas, semicolons or as JSON. Quotes around a value, `export`",
        "before a name and `# comments` are fine. In paths `~`, `$NAME`, `${NAME}` and `%NAME%`",
        "are filled in, in all of `.env` `${NAME}` and `${NAME:-default}`, but not between single",
        "quotes. Backslashes stay as they are. Lines of `.env` that are no setting, such as",
        "`HF_TOKEN`, are added to the environment when a server or a download starts.",
        "",
        "What older versions kept in the folder that they were started in (`data`, `voices`,",
        "`.env`) is still used from there, with a warning that says how to move it.",
    ]
    for reader, names in sort_settings():
        lines += ["", f"## {reader.title}", "", _wrapped(reader.words, indent=""), ""]
        lines += ["| name | default | allowed | what it does |", "|---|---|---|---|"]
        lines += [_describe_setting(name) for name in names]
    return "\n".join(lines) + "\n"


def write_cli_page() -> str:
    """Return docs/cli.md."""
    lines = [
        "# Command line",
        "",
        "Made from `src/fishs2/cli` by `scripts/docs.py`; do not edit.",
        "",
        "The exit status is 0 when done, 1 when something failed, 2 for wrong usage.",
        "",
        "## run.sh, run.bat",
        "",
        "They make an environment, download what is missing and start the server.",
        "",
        "```text",
        _help_of_run(),
        "```",
    ]
    group = get_command(cli)
    root = typer.Context(group, info_name="fishs2", terminal_width=100, max_content_width=100)
    for context in _walk_commands(root):
        path = context.command_path
        marks = "#" * min(3, 1 + len(path.split()))
        shown = context.command.get_help(context).rstrip()
        lines += ["", f"{marks} {path}", "", "```text", shown, "```"]
    return "\n".join(lines) + "\n"


def _help_of_run() -> str:
    """What `run.sh --help` prints."""
    command = [sys.executable, str(ROOT / "run.py"), "--help"]
    asked = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=asked)
    return done.stdout.rstrip().replace("usage: run.py", "usage: run.sh")


def _walk_commands(context: typer.Context) -> Iterator[typer.Context]:
    """The context of a command, then those of all commands below it."""
    yield context
    group = context.command
    if not isinstance(group, TyperGroup):
        return
    for name in group.commands:
        _, command, _ = group.resolve_command(context, [name])
        assert command is not None
        yield from _walk_commands(typer.Context(command, info_name=name, parent=context))


def write_architecture_page() -> str:
    """Return docs/architecture.md with its list of modules as the code is."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(_MODULES_BEGIN)
    _, _, after = rest.partition(_MODULES_END)
    return before + _MODULES_BEGIN + _list_modules() + _MODULES_END + after


def _list_modules() -> str:
    lines = []
    for folder in [SOURCE, *_packages()]:
        modules = [each for each in sorted(folder.glob("*.py")) if each.name != "__init__.py"]
        if modules:
            lines += ["", f"**{folder.relative_to(SOURCE.parent).as_posix()}/**", ""]
        lines += [_wrapped(f"* `{each.name}`: {_first_line(each)}") for each in modules]
    return "\n".join(lines[1:]) + "\n\n"


def _packages() -> list[Path]:
    return sorted(each.parent for each in SOURCE.rglob("*/__init__.py"))


def _first_line(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


GENERATED = {
    "settings.md": write_settings_page,
    "cli.md": write_cli_page,
    "architecture.md": write_architecture_page,
}


def find_stale_pages() -> list[str]:
    """Generated pages that differ from what the code says."""
    return [
        f"docs/{name} is stale: run scripts/docs.py"
        for name, write in GENERATED.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != write()
    ]


def find_broken_links() -> list[str]:
    """Relative links, in any document, to files that do not exist."""
    problems = []
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("changelog.d/*.md")]:
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        problems += [
            f"{page.relative_to(ROOT)} links to {target}, which is not there"
            for target in targets
            if not (page.parent / target).exists()
        ]
    return problems


def find_undocumented_api() -> list[str]:
    """Routes, fields, headers and codes that docs/api.md does not mention."""
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    settings = Settings.model_construct()
    services = open_services(settings, choose_engine(settings, ""))
    schema = create_app(services, server_options(settings)).openapi()
    words = set(schema["paths"])
    words |= set(schema["components"]["schemas"]["SpeechBody"]["properties"])
    words |= set(schema["components"]["schemas"]["Health"]["properties"])
    for module in [*SOURCE.glob("server/**/*.py"), *SOURCE.glob("service/**/*.py")]:
        code = module.read_text(encoding="utf-8")
        words |= set(re.findall(r'code="([a-z_]+)"', code))
        words |= set(re.findall(r'"(X-[A-Za-z0-9-]+)"', code))
    return [f"docs/api.md does not mention {word}" for word in sorted(words) if word not in page]


_MAX_COLUMNS = 110


def _wrapped(text: str, *, indent: str = "  ") -> str:
    return textwrap.fill(
        text, _MAX_COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def find_long_lines() -> list[str]:
    """Lines of prose that are wider than they are easily read; tables and code may be wider."""
    problems = []
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("changelog.d/*.md")]:
        text = re.sub(r"(?ms)^```.*?^```", _blank, page.read_text("utf-8"))
        problems += [
            f"{page.relative_to(ROOT)}:{number} has {len(line)} columns; {_MAX_COLUMNS} are enough"
            for number, line in enumerate(text.splitlines(), 1)
            if len(line) > _MAX_COLUMNS and not line.startswith("|")
        ]
    return problems


def _blank(code: re.Match[str]) -> str:
    return "\n" * code[0].count("\n")


def find_wrong_folders() -> list[str]:
    """Folders that the picture in docs/architecture.md has and the code has not, and others."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    picture = page.partition("src/fishs2/\n")[2].partition("```")[0]
    drawn: list[str] = []
    above: list[str] = []
    for line in picture.splitlines():
        name = line.split()[0]
        if not name.endswith("/"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[: depth - 1], name.rstrip("/")]
        drawn.append("/".join(above))
    there = [each.relative_to(SOURCE).as_posix() for each in _packages() if each != SOURCE]
    wrong = {
        "draws what is not there": set(drawn) - set(there),
        "does not draw": set(there) - set(drawn),
        "draws twice": {each for each in drawn if drawn.count(each) > 1},
    }
    return [
        f"docs/architecture.md {what}: {each}/" for what in wrong for each in sorted(wrong[what])
    ]


def find_untested_modules() -> list[str]:
    """Modules whose tests cannot be found, and files of tests that do not say what they test.

    A module's tests are in the file of its name in its folder below tests/, or where the docstring
    of that folder's `__init__.py` says: `name, other: path of the file below tests/`.
    """
    problems: list[str] = []
    for folder in [SOURCE, *_packages()]:
        path = folder.relative_to(SOURCE)
        mirror = next(each for each in (TESTS / path, *(TESTS / path).parents) if each.is_dir())
        elsewhere = _tested_elsewhere(mirror)
        for module in sorted(folder.glob("[!_]*.py")):
            name = (TESTS / path / module.stem).relative_to(mirror).as_posix()
            own = TESTS / path / f"test_{module.name}"
            if own.exists() == (name in elsewhere):
                problems.append(
                    f"who tests {module.relative_to(ROOT)}? {own.relative_to(ROOT)}, or else what "
                    f"a line `{name}: FILE` in {mirror.relative_to(ROOT)}/__init__.py names"
                )
    return problems


def _tested_elsewhere(folder: Path) -> set[str]:
    """The modules that a folder of tests says are tested in a file that is there."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    rows = re.findall(r"^([\w/, ]+): (\S+)$", docstring, flags=re.MULTILINE)
    named = [names for names, file in rows if (TESTS / f"{file}.py").is_file()]
    return {name for names in named for name in names.split(", ")}


def find_nameless_tests() -> list[str]:
    """Files of tests that have neither the name of a module nor a word on what they test."""
    return [
        f"{each.relative_to(ROOT)} has no docstring, and no module has its name"
        for each in sorted(TESTS.rglob("test_*.py"))
        if not (SOURCE / each.relative_to(TESTS)).with_name(each.name[5:]).exists()
        and not _first_line(each)
    ]


def main() -> int:
    """Write the pages, or with --check report what is wrong; returns the exit status."""
    if sys.argv[1:] != ["--check"]:
        for name, write in GENERATED.items():
            (DOCS / name).write_text(write(), encoding="utf-8")
        return 0
    problems = [
        *find_stale_pages(),
        *find_broken_links(),
        *find_undocumented_api(),
        *find_long_lines(),
        *find_wrong_folders(),
        *find_untested_modules(),
        *find_nameless_tests(),
    ]
    for problem in problems:
        print(problem)
    print(f"documents: {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
