"""Everything at once, for minutes: is anything lost, wrong, leaked or let through?

    .venv/bin/python -m benchmarks.campaign --minutes 10
    .venv/bin/python -m benchmarks.campaign --minutes 10 --engine s2-tiny --json campaign.json

A real server process; clients of every dialect that read, read slowly and leave; requests that are
wrong in every way; kills of the engine's processes; keys and voices that change; the commands.
Whatever is read to its end must be what the same request was alone. Ends with status 1 if a bar was
not kept. The same seed draws the same requests.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.campaign.run import Plan, run_campaign
from benchmarks.campaign.verdict import judge, to_json, to_markdown


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--engine", choices=("builtin", "s2-tiny"), default="builtin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    asked = parser.parse_args()
    plan = Plan(asked.engine, 60 * asked.minutes, asked.seed)
    with tempfile.TemporaryDirectory(prefix="fishs2-campaign-") as folder:
        found = asyncio.run(run_campaign(Path(folder), plan))
    bars = judge(found)
    print(to_markdown(found, bars))
    if asked.json is not None:
        asked.json.write_text(to_json(found, bars), encoding="utf-8")
    sys.exit(0 if all(bar.is_kept for bar in bars) else 1)


if __name__ == "__main__":
    main()
