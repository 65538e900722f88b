"""Run the command line: this is the entry point of `wemoe-pl` and of `python -m wemoe_pl`."""

import sys
from pathlib import Path

# `python -m` puts the current folder before all libraries, which `wemoe-pl` does not: a `torch.py`
# that happens to lie there would be imported as the library. Only packages that the user names by
# `--allow` are imported from that folder.
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] == [str(Path.cwd())]:
    del sys.path[0]

from wemoe_pl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
