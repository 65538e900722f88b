"""The entry point of `wemoe-pl`, also `python -m wemoe_pl`."""

import sys

from wemoe_pl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
