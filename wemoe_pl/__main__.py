"""The entry point of `wemoe-pl`, also `python -m wemoe_pl`."""

import sys


def main() -> int:
    """Run the command line; answer `--version` without importing torch."""
    if sys.argv[1:] == ["--version"]:
        from wemoe_pl import __version__

        print(f"wemoe-pl {__version__}")
        return 0
    from wemoe_pl.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
