"""``python -m lastresort`` is the ``lastresort`` command."""

from __future__ import annotations

import sys

from lastresort.cli import main

if __name__ == "__main__":
    sys.exit(main())
