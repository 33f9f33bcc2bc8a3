"""`python -m aps_text`: the same as the command `aps`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
