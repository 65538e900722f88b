"""Define which settings make a run what it is, and compare two configs by them."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import yaml

from wemoe_pl.system.plain_yaml import load_plain
from wemoe_pl.system.public_names import with_public_names


class Effect(IntEnum):
    """An effect says what a setting changes: nothing, the figures alone, or the method as well.

    Runs are compared with an earlier start by all settings that change anything. A report names its
    rows, and tells them apart, by settings of the method alone.
    """

    NOTHING = 0
    FIGURES = 1
    METHOD = 2


# Every setting that is not listed changes the method. A user's callbacks may change something, but
# callbacks are listed, as they change with the progress bar. The size of test batches changes the
# scores if batches are routed. Suite, tasks and seed have their own places in a report.
EFFECTS: dict[str, Effect] = {
    **dict.fromkeys((
        "out", "quiet", "fresh", "ckpt_path", "weights_only", "verbose", "return_predictions",
        "checkpoint", "dashboard", "predictions", "sample_images", "data.init_args.images",
        "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
        "trainer.plugins", "trainer.logger", "trainer.callbacks", "trainer.profiler",
        "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.detect_anomaly",
        "trainer.default_root_dir", "data.init_args.num_workers", "data.init_args.cache_images",
    ), Effect.NOTHING),
    **dict.fromkeys((
        "seed_everything", "suite", "task", "tasks", "unseen", "data.init_args.seed",
        "data.init_args.suite", "data.init_args.test_batch_size", "model.init_args.suite",
        "model.init_args.references", "trainer.val_check_interval",
        "trainer.accumulate_grad_batches", "trainer.deterministic",
    ), Effect.FIGURES),
}  # fmt: skip
# Settings that say where files lie. Files may be copied elsewhere if they stay the same: weights
# are compared by hashes, and images by names and sizes.
PLACES = re.compile(
    r"suite\.(pretrained|(experts|heads)\.[^.]+|text_tower\.source"
    r"|tasks\.[^.]+\.init_args\.(train|test|source|dataset))"
)

OF_WEMOE: Mapping[str, Any] = {
    "gate": {"softmax": False, "temperature": 1.0, "top_k": None},
    **dict.fromkeys(("rest", "centre", "attention", "router_width")),
    "attention_router": "own",
    "start_images": 0,
}
# Options that were added to a class later, and the values with which it behaves as before.
ADDED: Mapping[str, Mapping[str, Any]] = {
    "wemoe_pl.TestTimeAdaptation": {"schedule": "cosine", "objective": None, "announced": True},
    "wemoe_pl.MultiTaskData": dict.fromkeys(
        ("images_per_task", "images_per_class", "proportions", "compare_with", "test_render")
    ),
    "wemoe_pl.TaskData": {"test_render": None},
    **dict.fromkeys(("wemoe_pl.WEMoE", "wemoe_pl.EWEMoE"), OF_WEMOE),
    "wemoe_pl.TIES": {"combine": "mean"},
    "wemoe_pl.ExpertFineTuning": {"adapter": None},
    "wemoe_pl.AdaMerging": {"clamp": False},
    "wemoe_pl.ExpertLabels": {"trusted_only": True},
}
# Keys that were added to jobs later, in the same way.
ADDED_KEYS: Mapping[str, Any] = {"guard.score": "information"}
# Objectives that used to be options of the adaptation itself, with the defaults of these options.
OF_OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "wemoe_pl.Entropy": {},
    "wemoe_pl.InformationMaximisation": {"diversity": 1.0, "reliable": None},
}

ORDERED = "experts"  # the key of a suite whose order matters: routing weights follow it


def effect_of(name: str) -> Effect:
    """Return the effect of the setting with a dotted key."""
    return EFFECTS.get(name, Effect.METHOD)


def relevant_settings(
    recipe: Mapping[str, Any], least: Effect, above: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a config with at least some effect, by dotted key."""
    for key, value in recipe.items():
        name = f"{above}{key}"
        if effect_of(name) < least or is_as_before(name, value):
            continue
        if isinstance(value, Mapping) and value:
            yield from relevant_settings(value, least, f"{name}.")
        else:
            yield name, value


def is_as_before(name: str, value: Any) -> bool:
    """Return whether a key was added to jobs later, and has the value that changes nothing."""
    return name in ADDED_KEYS and value == ADDED_KEYS[name]


def comparable(value: Any) -> Any:
    """Return plain values as any version would have written them.

    Classes have their public names, and options that were added later are left out if they change
    nothing.

    >>> comparable({"class_path": "wemoe_pl.ties.TIES", "init_args": {"combine": "mean"}})
    {'class_path': 'wemoe_pl.TIES'}
    """
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    if not isinstance(value, Mapping):
        return with_public_names(value)
    plain = {key: comparable(item) for key, item in value.items()}
    added = ADDED.get(str(plain.get("class_path")), {})
    if added and isinstance(options := plain.get("init_args"), dict):
        kept = {
            name: option
            for name, option in with_options_of_objective(options).items()
            if name not in added or option != added[name]
        }
        plain |= {"init_args": kept}
        if not kept:  # a class without options is written without `init_args`
            del plain["init_args"]
    return plain


def with_options_of_objective(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adaptation's options in the form before it had objectives, if that says the same.

    >>> maximised = {"class_path": "wemoe_pl.InformationMaximisation", "init_args": {}}
    >>> with_options_of_objective({"diversity": 0.0, "reliable": None, "objective": maximised})
    {'diversity': 1.0, 'reliable': None}
    """
    objective = options.get("objective") or {}
    if not isinstance(objective, Mapping) or objective.get("class_path") not in OF_OBJECTIVES:
        return dict(options)
    rest = {name: option for name, option in options.items() if name != "objective"}
    defaults = OF_OBJECTIVES[objective["class_path"]]
    return rest | defaults | (objective.get("init_args") or {})


def digest_of(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that matters in a config, wherever its files lie."""
    settings = sorted(
        (name, "a place" if is_place(name, value) else value)
        for name, value in relevant_settings(comparable(recipe), Effect.FIGURES)
    )
    experts = list((recipe.get("suite") or {}).get(ORDERED, ()))
    return hashlib.sha256(json.dumps([settings, experts]).encode()).hexdigest()


def is_place(name: str, value: Any) -> bool:
    """Return whether a setting says where files lie; the files are compared, not their places."""
    return isinstance(value, str) and PLACES.fullmatch(name) is not None


def read_settings(config: Path) -> dict[str, Any] | None:
    """Return the contents of a `config.yaml`; None if it is damaged or not there."""
    try:
        settings = load_plain(config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def difference(config: Path, recipe: Mapping[str, Any]) -> str:
    """Say where the config of a run differs from another; return "" if it does not."""
    if not config.is_file():
        return f"{config.name} is missing"
    then = read_settings(config)
    return f"{config.name} is damaged" if then is None else first_change(then, recipe)


def first_change(then: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> str:
    """Return the first key that matters and has changed, with both values; "" if none has.

    >>> first_change({"out": "a", "model": {"rate": 1}}, {"out": "b", "model": {"rate": 2}})
    'model.rate was 1 and is now 2'
    """
    # The trainer comes last: another suite or method says more than another number of steps.
    for key in sorted({**then, **now}, key=lambda key: key == "trainer"):
        name = f"{above}{key}"
        old, new = (comparable(config.get(key)) for config in (then, now))
        is_moved = is_place(name, old) and is_place(name, new)
        is_added = old is None and is_as_before(name, new)
        if is_moved or is_added or effect_of(name) == Effect.NOTHING:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if key == ORDERED and list(old) != list(new) and old.keys() == new.keys():
                return f"the order of {name} was {list(old)} and is now {list(new)}"
            if change := first_change(old, new, f"{name}."):
                return change
        elif old != new:
            return f"{name} was {old} and is now {new}"
    return ""
