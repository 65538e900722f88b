"""Name the families of fine-tuned checkpoints; only figures of the same family are compared."""

import re
from collections.abc import Mapping
from pathlib import Path

from wemoe_pl.errors import ConfigError

# The families, by their names in `published_results.csv`.
FAMILIES = {
    "A": "eight experts of the authors of task arithmetic",
    "B leaky": "experts of the authors of TALL masks, with DTD's fine-tuned on test images too",
    "B corrected": "experts like B leaky, but with DTD's fine-tuned on training images only",
    "C": "experts on the hub, tanganke/clip-vit-*",
}
UNKNOWN_FAMILY = "unknown"  # for published figures that do not name their checkpoints
HUB_EXPERT = re.compile(r"tanganke/clip-vit-(base-patch32|base-patch16|large-patch14)_")


def family_of(sources: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the family of the experts of a run; None if their sources do not tell it.

    Args:
        sources: the sources in the `results.json` of the run.
    """
    experts = [of["source"] for part, of in sources.items() if part.startswith("experts/")]
    return "C" if experts and all(map(HUB_EXPERT.match, experts)) else None


def common_family(
    sources: Mapping[Path, Mapping[str, Mapping[str, str]]], stated: str | None
) -> str:
    """Return the one family of checkpoints whose published figures some runs may be compared with.

    Args:
        sources: the sources in the `results.json` of each run, by the folder of the run.
        stated: the family that the user names for runs whose sources do not tell it.

    Raises:
        ConfigError: the family of a run is not known, or differs from the stated one or from that
            of other runs.
    """
    found = {folder: family_of(of) or stated for folder, of in sources.items()}
    family = stated or next(iter(found.values()))
    for folder, own in found.items():
        if own is None or family is None:
            raise ConfigError(
                f"The sources of {folder} do not tell the family of its experts, and published "
                "figures are compared within one family only: name it with --family, one of "
                f"{', '.join(map(repr, FAMILIES))}, or leave --published out."
            )
        if own != family:
            raise ConfigError(
                f"The experts of {folder} are of family {own!r} ({FAMILIES[own]}), which cannot be "
                f"compared with published figures of family {family!r}: leave --family out, or "
                "report on runs of different families separately."
            )
    assert family is not None, "A table has at least one run."
    return family
