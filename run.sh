#!/usr/bin/env bash
# Start the server: makes .venv on the first run, reuses it afterwards.
# All arguments go to run.py; `bash run.sh --help` lists them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/environment.sh
make_environment "" # no extras
exec "$PYTHON" run.py "$@"
