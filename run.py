"""Start the server: what `run.sh` and `run.bat` call once the environment is there."""

import sys

from fishs2.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
