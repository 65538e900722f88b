"""Write an export, read it back and compare it, and only then move it into its place."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.export.card import CARD_FILE, model_card, shareable
from wemoe_pl.export.exported import IMAGES, ExportedModel, check_can_be_built
from wemoe_pl.export.formats import FORMATS_BY_NAME
from wemoe_pl.export.manifest import MANIFEST, Manifest
from wemoe_pl.export.programs import FEATURES, ROUTING_WEIGHTS, AllTasks, Run, output_names
from wemoe_pl.merging.baselines import PerTaskEncoder, Pretrained
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.folders import atomic_folder
from wemoe_pl.system.warn import warn

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
    check_tools(name)
    check_is_one_model(model)
    if chosen.builds_encoder or (model.classifier.chooses_experts and name != "adapter"):
        check_can_be_built(model)
    model = chosen.prepare(model)
    if model.merge.trains_heads and not (chosen.has_heads or model.task):
        say(
            f"The format {name} holds no heads, and those of this model were trained with the "
            "encoder: they are in `heads/` of the run's folder, and in a bundle or an adapter."
        )
    say(f"{out} will take {size_in_words(size_of(model, name))}.")
    with atomic_folder(out, MANIFEST) as folder:
        chosen.write(model, folder)
        manifest = Manifest.of(model, name, folder)
        manifest.write(folder)
        difference = check_outputs(model, chosen.open(folder), chosen.batches)
        card = model_card(shareable(manifest), out, None, difference)
        # The manifest has no hash of the card, so that people may edit it.
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    kind = "logits" if model.task else "features"
    say(f"Read back, its {kind} differ by at most {difference:.1e} from the model's.")
    warn_of_no_change(model.whole)
    return difference


def check_tools(name: str) -> None:
    """Raise `ConfigError` if a package or a program that a format needs is missing."""
    chosen = FORMATS_BY_NAME[name]
    for package in chosen.needs:
        if find_spec(package) is None:
            raise ConfigError(
                f"The format {name} needs {package}: install it with `pip install "
                "'wemoe_pl[export]'`."
            )
    chosen.check_tools()


def warn_of_no_change(model: ExportedModel) -> None:
    """Warn if a model's features are those of the pretrained encoder, up to rounding.

    Experts that were ignored somewhere, such as adapters whose keys match nothing, show by that.
    """
    if isinstance(model.merge, Pretrained) or isinstance(model.classifier.encoder, PerTaskEncoder):
        return
    encoder = model.suite.load_pretrained().to(model.images).eval()
    with torch.no_grad():
        before = encoder(model.images)
    difference = largest_difference(model.features, before)
    if difference <= allowed_difference(before, model.dtype):
        warn(
            f"The features of this {model.merge.label} are those of the pretrained encoder (they "
            f"differ by {difference:.1e}, which is rounding): unless that is meant, as by a "
            "scaling of 0, see whether its experts are what they should be."
        )


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


def check_outputs(model: ExportedModel, run: Run, batches: Sequence[int] = (IMAGES,)) -> float:
    """Return the largest difference of a feature between a model and what was read back.

    Args:
        model: the model.
        run: the export as a function of images, which may give the features alone.
        batches: the sizes of the batches that both are given.

    Raises:
        CheckpointError: a feature, a logit or a routing weight differs by more than rounding.
    """
    names, differences = output_names(model.classifier), [0.0]
    for size in batches:
        images = model.images[:size]
        with torch.no_grad():
            expected = AllTasks(model.classifier)(images)
        found = run(images)
        if len(found) not in (1, len(expected)):
            raise CheckpointError(
                f"The export has {len(found)} outputs instead of {len(expected)}, so it does not "
                "agree with the model. The export was deleted."
            )
        for name, own, other in zip(names, expected, found, strict=False):
            difference, allowed = (
                largest_difference(other, own),
                allowed_difference(own, model.dtype),
            )
            if not difference <= allowed:
                kind = output_in_words(name)
                raise CheckpointError(
                    f"The export does not agree with the model: read back, its {kind} differ by "
                    f"up to {difference:.1e}, and at most {allowed:.1e} is allowed. The export was "
                    "deleted."
                )
            differences += [difference] if name == FEATURES else []
    return max(differences)


def output_in_words(output: str) -> str:
    """Name an output in a sentence.

    >>> output_in_words("routing_weights"), output_in_words("cars")
    ('routing weights', "logits of 'cars'")
    """
    is_task = output not in (FEATURES, ROUTING_WEIGHTS)
    return f"logits of '{output}'" if is_task else output.replace("_", " ")


def allowed_difference(values: Tensor, dtype: torch.dtype) -> float:
    """Return the difference that rounding may make to values of a model of some precision."""
    return TOLERANCE[dtype] * max(1.0, values.abs().max().item())


def largest_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference between the numbers of two tensors."""
    if one.shape != other.shape:
        return float("inf")
    return (one.cpu().float() - other.cpu().float()).abs().max().item()
