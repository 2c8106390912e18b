"""``python -m funcnet`` is the command ``funcnet``."""

from __future__ import annotations

import sys

from funcnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
