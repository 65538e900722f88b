"""Write an export, read it back and compare it, and only then move it into its place."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.export.card import CARD_FILE, model_card, shareable
from wemoe_pl.export.exported import ExportedModel, check_can_be_built
from wemoe_pl.export.formats import FORMATS_BY_NAME
from wemoe_pl.export.manifest import MANIFEST, Manifest
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.folders import atomic_folder

# The allowed difference of features whose largest is 1: another order of sums rounds differently.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def export(model: ExportedModel, name: str, out: Path, say: Callable[[str], None] = print) -> float:
    """Write a model in one of the formats, read it back, and compare the features of both.

    Args:
        model: the model.
        name: the name of the format.
        out: the folder, which is not changed unless all goes well.
        say: a function that is told how large the files will be, and how it went.

    Returns:
        The largest difference of a feature.

    Raises:
        ConfigError: a package is missing, or the model has an encoder per task.
        CheckpointError: what was read back is not what was written.
        WeMoEError: the format cannot hold the model, or the folder cannot be written to.
    """
    chosen = FORMATS_BY_NAME[name]
    check_is_one_model(model)
    if chosen.builds_encoder or (model.classifier.chooses_experts and name != "adapter"):
        check_can_be_built(model)
    for package in chosen.needs:
        if find_spec(package) is None:
            raise ConfigError(
                f"The format {name} needs {package}: install it with `pip install "
                "'wemoe_pl[export]'`."
            )
    model = chosen.prepare(model)
    if model.merge.trains_heads and not chosen.has_heads:
        say(
            f"The format {name} holds no heads, and those of this model were trained with the "
            "encoder: they are in `heads/` of the run's folder, and in a bundle or an adapter."
        )
    say(f"{out} will take {size_in_words(size_of(model, name))}.")
    with atomic_folder(out, MANIFEST) as folder:
        chosen.write(model, folder)
        manifest = Manifest.of(model, name, folder)
        manifest.write(folder)
        difference = check_features(model, chosen.features(folder, model.images))
        card = model_card(shareable(manifest), out, None, difference)
        # The manifest has no hash of the card, so that people may edit it.
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    say(f"Read back, its features differ by at most {difference:.1e} from the model's.")
    return difference


def way_back(out: Path, name: str) -> str:
    """Say where an export is, and how it is loaded.

    >>> way_back(Path("exports/demo"), "bundle")
    "The model is in exports/demo: load it with wemoe_pl.load('exports/demo')."
    """
    is_ours = FORMATS_BY_NAME[name].is_loaded_here
    how = f"wemoe_pl.load({str(out)!r})" if is_ours else f"the code in {out / CARD_FILE}"
    return f"The model is in {out}: load it with {how}."


def check_is_one_model(model: ExportedModel) -> None:
    """Raise `ConfigError` for a model that has an encoder per task."""
    if isinstance(model.classifier.encoder, PerTaskEncoder):
        raise ConfigError(
            f"{model.merge.label} has an encoder per task, so it is not one model that can be "
            "exported: choose a merge method."
        )


def size_of(model: ExportedModel, name: str) -> int:
    """Count the bytes of the tensors that a format holds."""
    return sum(tensor.nbytes for tensor in FORMATS_BY_NAME[name].tensors(model).values())


def check_features(model: ExportedModel, features: Tensor) -> float:
    """Return the largest difference between a model's features and those of what was read back.

    Raises:
        CheckpointError: it is too large.
    """
    own = model.features
    difference = largest_difference(features, own)
    allowed = TOLERANCE[model.dtype] * max(1.0, own.abs().max().item())
    if not difference <= allowed:
        raise CheckpointError(
            f"The export does not agree with the model: read back, its features differ by up to "
            f"{difference:.1e}, and at most {allowed:.1e} is allowed. The export was deleted."
        )
    return difference


def largest_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference between the numbers of two tensors."""
    if one.shape != other.shape:
        return float("inf")
    return (one.float() - other.float()).abs().max().item()
