"""Check for enough address space, without which the import of torch ends the process."""

import resource
from importlib.util import find_spec
from pathlib import Path

from wemoe_pl.errors import WeMoEError


def check_address_space() -> None:
    """Raise `WeMoEError` if torch's libraries alone are larger than this process may become."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    if limit < (needed := size_of_libraries()):
        raise WeMoEError(
            f"This process may have {limit / 1e9:.1f} GB of address space (`ulimit -v`), and the "
            f"libraries of torch alone have {needed / 1e9:.1f} GB: allow more."
        )


def size_of_libraries() -> int:
    """Return the bytes of torch's shared libraries and of those of CUDA, if they are there."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return 0
    packages = Path(torch.origin).parents[1]
    found = [*packages.glob("torch/lib/*.so*"), *packages.glob("nvidia/*/lib/*.so*")]
    return sum(path.stat().st_size for path in found)
