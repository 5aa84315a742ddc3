# Sourced by run.sh and test.sh: keeps caches inside the project and makes .venv.
# Sets PYTHON to the interpreter of the environment.

export PIP_CACHE_DIR="$PWD/.cache/pip" XDG_CACHE_HOME="$PWD/.cache" TMPDIR="$PWD/.tmp"
export PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$PIP_CACHE_DIR" "$TMPDIR"

find_python() {
    local name
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "fishs2 needs Python 3.11 or newer; install it and run this again." >&2
    return 1
}

# make_environment EXTRAS: install the project with the extras (for example "test") into .venv.
# A stamp inside .venv says what it was made from, so an unchanged one costs nothing.
make_environment() {
    local extras="$1" base stamp sum wanted
    # Windows' own Python, under Git Bash, puts its programs in Scripts.
    if [ -x .venv/Scripts/python.exe ]; then PYTHON=.venv/Scripts/python.exe; else PYTHON=.venv/bin/python; fi
    stamp=.venv/fishs2-stamp
    sum="$PWD $(cat pyproject.toml constraints.txt | cksum)"
    wanted="$sum [$extras]"
    if [ -x "$PYTHON" ] && [ -f "$stamp" ] && grep -qxF "$wanted" "$stamp"; then return; fi
    if [ ! -x "$PYTHON" ] || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        base="$(find_python)"
        echo "Making the environment in .venv (once, about a minute) ..." >&2
        if ! "$base" -m venv --clear .venv; then
            rm -rf .venv
            echo "Python's venv module cannot work here. On Debian and Ubuntu: sudo apt install python3-venv" >&2
            return 1
        fi
        if [ -x .venv/Scripts/python.exe ]; then PYTHON=.venv/Scripts/python.exe; fi
    fi
    "$PYTHON" -m pip install --quiet --constraint constraints.txt --editable ".${extras:+[$extras]}"
    # Lines of another state of these files would vouch for packages that are gone.
    grep -qF "$sum" "$stamp" 2>/dev/null || : >"$stamp"
    echo "$wanted" >>"$stamp"
}
