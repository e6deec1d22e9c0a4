"""``python -m inferkit``: the same as ``inferkit``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
