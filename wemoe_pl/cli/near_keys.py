"""Find the key that is meant by a name that does not exist, such as one of other programs."""

from collections.abc import Iterable, Iterator
from inspect import signature

from wemoe_pl.cli.chosen_classes import CHOSEN_BY_KEY, choices_of
from wemoe_pl.errors import FEW, did_you_mean

# The keys whose values are classes, which have their arguments below them; the topmost come last.
CHOSEN_AT = ("model.objective", "model.merge.compression", "model.merge", "data", "model")
PARTS = ("", "trainer", *CHOSEN_AT)
# Options, and the names that other programs have for them. The name of an argument needs no row.
KNOWN_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "--model.learning_rate": ("lr", "base_lr", "init_lr", "eta"),
    "--model.merge": ("method", "merge_method", "merging", "algorithm", "algo"),
    "--model.merge.router_depth": ("depth", "router_layers", "num_router_layers"),
    "--model.merge.init_lambda": ("lambda", "lamda", "alpha", "coefficient", "scaling_coef"),
    "--model.references": ("baselines", "baseline", "reference"),
    "--suite.backbone.model": ("backbone", "arch", "architecture", "encoder", "vit"),
    "--suite.pretrained": ("pretrained_model", "base_model", "model_name", "model_path"),
    "--suite": ("dataset", "datasets", "data_dir", "data_path", "benchmark"),
    "--data.batch_size": ("bs", "batch", "batchsize", "train_batch_size", "per_device_batch_size"),
    "--data.test_batch_size": ("eval_batch_size", "val_batch_size", "test_bs"),
    "--data.num_workers": ("workers", "num_worker", "n_workers", "jobs"),
    "--data.images": ("input", "inputs", "image", "image_dir", "image_folder", "source"),
    "--trainer.max_steps": (
        "steps", "step", "num_steps", "iterations", "iters", "max_iters", "num_iterations",
        "epochs", "epoch", "num_epochs", "max_epoch",  # an endless stream has no epochs
    ),
    "--trainer.devices": ("gpus", "num_gpus", "n_gpus", "ngpus", "nproc_per_node", "world_size"),
    "--trainer.num_nodes": ("nodes", "nnodes", "machines"),
    "--trainer.accelerator": ("device", "gpu", "cuda", "cpu", "backend"),
    "--trainer.precision": ("fp16", "bf16", "amp", "half", "dtype"),
    "--trainer.val_check_interval": ("eval_every", "eval_steps", "eval_interval", "val_interval"),
    "--trainer.log_every_n_steps": ("log_every", "log_interval", "logging_steps"),
    "--seed_everything": ("seed", "random_seed", "manual_seed", "rng"),
    "--out": (
        "o", "output", "output_dir", "out_dir", "outdir", "outputs", "save_dir", "save_path",
        "logdir", "log_dir", "run_dir", "dir", "folder", "name", "run_name", "exp_name",
        "experiment",
    ),
    "--ckpt_path": ("ckpt", "checkpoint", "checkpoint_path", "resume", "resume_from", "weights"),
    "--fresh": ("force", "overwrite", "restart", "no_resume"),
    "--config wandb.yaml": ("wandb", "use_wandb", "report_to", "project", "wandb_project"),
    "--trainer.limit_test_batches": ("debug", "limit", "max_samples", "num_samples"),
}  # fmt: skip
KEYS_MEANT = {name: given for given, names in KNOWN_ELSEWHERE.items() for name in names}


def nearest_key(name: str, keys: Iterable[str], otherwise: str = "") -> str:
    """Return a sentence that names the key that was probably meant by one that does not exist.

    Args:
        name: the dotted key that does not exist, or its last part.
        keys: the keys of the command or class, which exist.
        otherwise: the sentence if no key is near.

    >>> nearest_key("lr", ["trainer.max_steps"]), nearest_key("lr", ["learning_rate", "merge"])
    ("Did you mean '--model.learning_rate'?", "Did you mean 'learning_rate'?")
    >>> nearest_key("expert.cars", ["experts", "heads"])
    "Did you mean 'experts'? Valid names: experts, heads."
    """
    known = list(keys)
    part, _, last = name.lower().replace("-", "_").rpartition(".")
    synonym = KEYS_MEANT.get(last, "")
    if (own := synonym.rpartition(".")[2]) in known:
        return f"Did you mean '{own}'?"
    if part in PARTS and any(key.startswith("trainer.") for key in known):  # keys of a command
        ends = [f"--{key}" for key in known if key.endswith(f".{last}")]
        if meant := synonym or dict(arguments()).get(last) or (ends[0] if len(ends) == 1 else ""):
            return f"Did you mean '{meant}'?"
    above = name.partition(".")[0]  # in `expert.cars`, it is `expert` that does not exist
    return nearest_name(name, known) or nearest_name(above, known, otherwise)


def arguments() -> Iterator[tuple[str, str]]:
    """Yield the names of the arguments of all classes that can be chosen, with their whole keys."""
    for place in CHOSEN_AT:
        base = CHOSEN_BY_KEY[place.rpartition(".")[2]]
        kinds = {kind for choice in choices_of(base).values() for kind in choice.__mro__}
        for kind in (kind for kind in kinds if issubclass(kind, base)):
            for argument in signature(kind).parameters:
                yield argument, f"--{place}.{argument}"


def nearest_name(name: str, candidates: Iterable[str], otherwise: str = "") -> str:
    """Return a sentence that names the nearest candidate, and all candidates if they are few."""
    names = [candidate for candidate in candidates if not candidate.startswith("_")]
    hint = did_you_mean(name, names)
    return hint if len(names) <= FEW else hint.partition("There are")[0].strip() or otherwise
