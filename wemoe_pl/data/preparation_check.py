"""Compare how images are prepared with what lies beside weights about the images of their training.

Shapes tell nothing of it, and the names of timm's models little: `vit_large_patch14_clip_224` is
normalised by other means for LAION's weights than for those of DataComp or MetaCLIP.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from timm.models import get_pretrained_cfg

from wemoe_pl.checkpoints import ENCODER_FILE, Backbone
from wemoe_pl.checkpoints.backbone import names_with_tags
from wemoe_pl.checkpoints.config_part import ConfigPart
from wemoe_pl.checkpoints.sources import config_files
from wemoe_pl.data.preprocessing import data_config
from wemoe_pl.system.warn import warn_once

Preparation = Mapping[str, str]  # the words for how images are prepared, by what they are about
FITS = {"center": "cropped", "squash": "squashed", "border": "bordered"}  # by `crop_mode`
OF_OPEN_CLIP = {"shortest": "center", "squash": "squash", "longest": "border"}


def warn_of_other_preparation(backbone: Backbone, sources: Iterable[str]) -> None:
    """Warn if images are prepared otherwise than a config beside some weights states.

    Args:
        backbone: the backbone, for which images are prepared.
        sources: the sources of the weights of encoders.

    Raises:
        CheckpointError: a config is no JSON, or a value in it has a wrong type.
    """
    paths = dict.fromkeys(path for s in sources for path in config_files(s, ENCODER_FILE))
    if not paths:  # to describe a backbone takes longer than all the rest
        return
    own = prepared_in_words(data_config(backbone))
    told: dict[str, list[Path]] = {}
    for path in paths:
        stated = PREPARATION_READERS[path.name](ConfigPart.read(path))
        other = {name: value for name, value in stated.items() if own[name] != value}
        if other:
            told.setdefault(preparation_difference(backbone, own, other), []).append(path)
    for sentence, (first, *others) in told.items():
        more = f" (and {len(others)} more)" if others else ""
        warn_once(f"{first}{more} says that the weights beside it {sentence}")


def preparation_difference(backbone: Backbone, own: Preparation, other: Preparation) -> str:
    """Write the end of a sentence on weights whose images were prepared otherwise.

    Args:
        backbone: the backbone.
        own: the way in which images are prepared for the backbone.
        other: the part of it that is different for the weights.
    """
    name = next(iter(names_prepared_as({**own, **other}, backbone)), None)
    advice = (
        f"if so, write '{name}' as the name of the backbone"
        if name
        else "timm has no weights of this architecture that want it so, and accuracy may suffer"
    )
    ours = {key: own[key] for key in other}
    return (
        f"want images with {listed_preparation(other)}, but those of the backbone "
        f"'{backbone.model}' are prepared with {listed_preparation(ours)}: {advice}."
    )


def listed_preparation(preparation: Preparation) -> str:
    """List how images are prepared."""
    return ", ".join(f"{name} {value}" for name, value in preparation.items())


def names_prepared_as(wanted: Preparation, backbone: Backbone) -> Iterator[str]:
    """Yield timm's names of weights of an architecture whose images are prepared in some way.

    >>> wanted = prepared_in_words({"mean": (0, 0, 0), "std": (1, 1, 1), "crop_mode": "center"})
    >>> list(names_prepared_as(wanted, Backbone("vit_base_patch16_224")))
    []
    """
    for name in names_with_tags(backbone.model):
        published = get_pretrained_cfg(name)
        if published is not None and prepared_in_words(published.to_dict()) == wanted:
            yield name


def prepared_in_words(config: Mapping[str, Any]) -> dict[str, str]:
    """Describe the data config of a timm model, or what there is of one.

    >>> prepared_in_words({"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.2, 0.2), "crop_mode": "center"})
    {'mean': '0.500', 'standard deviation': '(0.250, 0.200, 0.200)', 'other shapes': 'cropped'}
    """
    words = {}
    for name, key in {"mean": "mean", "standard deviation": "std"}.items():
        if values := [f"{value:.3f}" for value in config.get(key) or ()]:
            is_grey = len({*values}) == 1  # a backbone may take one channel of three that are alike
            words[name] = values[0] if is_grey else f"({', '.join(values)})"
    if config.get("interpolation"):
        words["filter"] = str(config["interpolation"])
    if config.get("crop_mode") in FITS:
        words["other shapes"] = FITS[config["crop_mode"]]
    return words


def of_timm(config: ConfigPart) -> dict[str, str]:
    """Read timm's `config.json`; that of another program states nothing of images."""
    part = config.part("pretrained_cfg")
    return prepared_in_words(
        {
            **{key: part.numbers(key) for key in ("mean", "std")},
            **{key: part.text(key, "") for key in ("interpolation", "crop_mode")},
        }
    )


def of_open_clip(config: ConfigPart) -> dict[str, str]:
    """Read open_clip's `open_clip_config.json`."""
    part = config.part("preprocess_cfg")
    return prepared_in_words(
        {
            **{key: part.numbers(key) for key in ("mean", "std")},
            "interpolation": part.text("interpolation", ""),
            "crop_mode": OF_OPEN_CLIP.get(part.text("resize_mode", "")),
        }
    )


def of_hugging_face(config: ConfigPart) -> dict[str, str]:
    """Read Hugging Face's `preprocessor_config.json`, as far as its meaning is certain."""
    filters: dict[Any, str] = {int(each): each.name.lower() for each in Image.Resampling}
    found: dict[str, Any] = {"interpolation": filters.get(config.values.get("resample"))}
    if config.values.get("do_normalize") is False:
        found |= {"mean": [0], "std": [1]}
    else:
        found |= {"mean": config.numbers("image_mean"), "std": config.numbers("image_std")}
    if config.values.get("do_resize") is not False:
        found["crop_mode"] = fit_of(config)
    return prepared_in_words(found)


def fit_of(config: ConfigPart) -> str | None:
    """Return timm's name of how Hugging Face makes an image fit; None if it cannot be told."""
    if config.flag("do_center_crop"):
        return "center"
    size = config.values.get("size")
    has_both = isinstance(size, dict) and {"height", "width"} <= size.keys()
    return "squash" if has_both and config.values.get("do_center_crop") is False else None


PREPARATION_READERS: dict[str, Callable[[ConfigPart], dict[str, str]]] = {
    "config.json": of_timm,
    "open_clip_config.json": of_open_clip,
    "preprocessor_config.json": of_hugging_face,
}
