"""The provenance of a file, which says how it was made: versions, revision, recipe, seed."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from wemoe_pl import __version__
from wemoe_pl.system.configs import PACKAGE

RECORDED_VERSIONS = (
    "torch", "torchvision", "lightning", "timm", "torchmetrics",
    "open_clip_torch", "datasets", "pillow", "numpy", "scipy",
)  # fmt: skip
GIT_TIMEOUT = 5  # seconds that git has to answer


def versions() -> dict[str, str]:
    """The versions of this program and of what its numbers depend on."""
    return {"wemoe_pl": __version__} | {name: version(name) for name in RECORDED_VERSIONS}


@cache
def code_hash() -> str:
    """The SHA-256 of this program's code: of all modules of the package, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def program() -> dict[str, str]:
    """Return the versions of this program's code and of torch, which equal runs share."""
    known = versions()
    return {"code": code_hash(), "wemoe_pl": known["wemoe_pl"], "torch": known["torch"]}


def provenance(recipe: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Return the provenance that a file of weights carries."""
    return {
        "format": "wemoe_pl 1",
        "recipe": json.dumps(recipe),
        "versions": json.dumps(versions()),
        "seed": str(seed),
    }


def revision() -> str | None:
    """The git revision of this program, with `-dirty` behind it if files differ; None without git.

    An installed program has none: there its version says all.
    """
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    command = ["git", "-C", str(checkout), *describe]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
