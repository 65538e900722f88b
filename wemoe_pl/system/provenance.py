"""Record the provenance of a file, which says how it was made: versions, recipe, seed, revision."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wemoe_pl import __version__
from wemoe_pl.system.configs import PACKAGE
from wemoe_pl.system.own_packages import own_places

RECORDED_VERSIONS = (
    "torch", "torchvision", "lightning", "timm", "torchmetrics",
    "open_clip_torch", "datasets", "pillow", "numpy", "scipy",
)  # fmt: skip
GIT_TIMEOUT = 5  # seconds that git has to answer


def versions() -> dict[str, str]:
    """Return the versions of this program and of the libraries that its numbers depend on."""
    return {"wemoe_pl": __version__} | {name: version(name) for name in RECORDED_VERSIONS}


@cache
def code_hash(package: Path = PACKAGE) -> str:
    """Return the SHA-256 of a package's code, by default ours: all modules' names and contents."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")) if package.is_dir() else [package]:
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def program() -> dict[str, Any]:
    """Return this program's code hash and version, and torch's version, which equal runs share.

    If the user allows packages, the hashes of their code are in it too, by their names.
    """
    known = versions()
    own = {name: code_hash(place) for name, place in own_places().items()}
    made_by = {"code": code_hash(), "wemoe_pl": known["wemoe_pl"], "torch": known["torch"]}
    return made_by | ({"own": own} if own else {})


def provenance(recipe: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Return the provenance that is written into a file of weights."""
    return {
        "format": "wemoe_pl 1",
        "recipe": json.dumps(recipe),
        "versions": json.dumps(versions()),
        "seed": str(seed),
    }


def revision() -> str | None:
    """Return the git revision of this program, with `-dirty` if files differ; None without git.

    An installed program has no revision: its version is enough.
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
