"""`python tests/fuzz 10000`: the tally of so many inputs; see `harness`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
for place in ("tests", "tests/text", "tests/rewards", "tests/fuzz", "eval", "rewards", "."):
    sys.path.insert(0, str(ROOT / place))

from harness import main  # noqa: E402

raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, sys.argv[2:]))
