"""`python -m aps_eval`: the same as `aps eval`, for `accelerate launch -m aps_eval`."""

import sys

from aps_text.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
