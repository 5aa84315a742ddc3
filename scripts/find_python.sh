# Sourced by run.sh and test.sh: find_python prints a Python that is new enough.

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
