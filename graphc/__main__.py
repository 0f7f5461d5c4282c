"""`python -m graphc` is the command `graphc`."""
from __future__ import annotations

import sys

from graphc.cli import main

sys.exit(main())
