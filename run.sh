#!/usr/bin/env bash
# Start the server. With pixi, one in bin/ or one named by --pixi-path, in its environment;
# otherwise in .venv, which the first run makes. `bash run.sh --help` lists the arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

pixi=bin/pixi
previous=""
for argument in "$@"; do
    if [ "$previous" = --pixi-path ]; then pixi="$argument"; fi
    case "$argument" in --pixi-path=*) pixi="${argument#*=}" ;; esac
    previous="$argument"
done
if [ "$previous" = --pixi-path ]; then
    echo "fishs2: --pixi-path needs a value" >&2
    exit 1
fi
if [ "$pixi" != bin/pixi ] && [ ! -f "$pixi" ]; then
    echo "fishs2: --pixi-path $pixi: there is no such file" >&2
    exit 1
fi
if [ -f "$pixi" ]; then
    export PIXI_CACHE_DIR="${PIXI_CACHE_DIR:-$PWD/.pixi-cache}"
    export RATTLER_CACHE_DIR="${RATTLER_CACHE_DIR:-$PWD/.pixi-cache/rattler}"
    export PIP_CACHE_DIR="${PIP_CACHE_DIR:-$PWD/.pip-cache}" TMPDIR="$PWD/.tmp"
    mkdir -p "$PIXI_CACHE_DIR" "$RATTLER_CACHE_DIR" "$PIP_CACHE_DIR" "$TMPDIR"
    "$pixi" install --manifest-path pyproject.toml
    exec "$pixi" run --manifest-path pyproject.toml python run.py "$@"
fi
# Looking for a Python takes longer than the rest of the start, where pyenv answers.
if [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null; then
    exec .venv/bin/python run.py "$@"
fi
source scripts/find_python.sh
exec "$(find_python)" run.py "$@"
