#!/usr/bin/env bash
# Everything that must hold before a change lands. CI runs this and nothing else.
#
#     bash test.sh              all of it
#     bash test.sh --quick      all but the tests, as pre-commit does
#     bash test.sh ARGUMENT...  with arguments for pytest, such as `-m slow`
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/find_python.sh
PYTHON="$("$(find_python)" scripts/environment.py s2 test)"
PYTHON="${PYTHON%$'\r'}" # how Python ends a line on Windows
export TMPDIR="$PWD/.tmp"

step() { printf '\n== %s\n' "$*"; "$@"; }
step "$PYTHON" -m ruff format --check .
step "$PYTHON" -m ruff check .
step "$PYTHON" -m mypy
step "$PYTHON" -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
step "$PYTHON" scripts/docs.py --check
if [ "${1:-}" = --quick ]; then exit; fi
step "$PYTHON" -m pytest "$@"
