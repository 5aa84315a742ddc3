#!/usr/bin/env bash
# Everything that must hold before a change lands. CI runs this and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/environment.sh
make_environment s2,test

step() { printf '\n== %s\n' "$*"; "$@"; }
step "$PYTHON" -m ruff format --check .
step "$PYTHON" -m ruff check .
step "$PYTHON" -m mypy
step "$PYTHON" -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
step "$PYTHON" scripts/docs.py --check
step "$PYTHON" -m pytest "$@"
