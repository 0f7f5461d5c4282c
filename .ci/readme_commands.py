"""Prints the commands of README.md's first code block, one a line: what a newcomer types is what CI runs.

Stands outside the package: `.ci/run` calls it with the README's path.
"""
from __future__ import annotations

import re
import sys
from pathlib import Path


def commands(readme: str) -> list[str]:
    """The lines of the first ```sh block, without blank lines and comments."""
    block = re.search(r"^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    if block is None:
        raise SystemExit("README.md has no ```sh block")
    return [line for line in block.group(1).splitlines() if line.strip() and not line.startswith("#")]


if __name__ == "__main__":
    print("\n".join(commands(Path(sys.argv[1]).read_text())))
