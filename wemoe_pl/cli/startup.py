"""What makes the program start, and end, sooner."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Look for no garbage while torch and all that comes with it is imported, nor ever in that.

    There is none: a million objects are made, nearly all of which live as long as the program.
    To go through them again and again takes a fifth of the time of the import, and to do so once
    more when the program ends takes over a second.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
