"""Merge the same models with FusionBench, and print how much its weights differ from ours.

    python -m venv peers && . peers/bin/activate
    pip install -e . && pip install --no-deps fusion_bench==0.2.33
    pip install "omegaconf<2.4" "hydra-core<1.4" bidict datasets peft scipy h5py joblib
    python benchmarks/equal_to_fusionbench.py

The script needs an environment of its own: nothing else here depends on FusionBench. The encoders
are tiny vision transformers of timm with random weights in double precision, and both programs
merge them as they are. A difference is the largest difference of an entry, divided by the largest
change of an entry by merging: 1e-15 is rounding, and 1 is another method. The position embedding of
timm has three dimensions, so FusionBench averages it, while we treat it as a matrix. It is left out
of the comparison for methods that treat matrices in a way of their own.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import timm
import torch
from fusion_bench import BaseModelPool
from fusion_bench.method.emr_merging import EMRMerging
from fusion_bench.method.isotropic_merging.iso import ISO_C_Merge, ISO_CTS_Merge
from fusion_bench.method.model_stock import ModelStock as TheirModelStock
from fusion_bench.method.regmean.regmean import merging_with_regmean_weights
from fusion_bench.method.regmean_plusplus.regmean_plusplus import RegMeanAlgorithmPlusPlus
from fusion_bench.method.simple_average import SimpleAverageAlgorithm
from fusion_bench.method.singular_value_calibration.generic import (
    SingularValueCalibrationWithBaseMethod,
)
from fusion_bench.method.smile_upscaling import SmileUpscalingAlgorithm
from fusion_bench.method.tall_mask.task_arithmetic import generate_task_masks
from fusion_bench.method.task_arithmetic import TaskArithmeticAlgorithm
from fusion_bench.method.task_singular_vector import TaskSingularVectorMerging
from fusion_bench.method.ties_merging.ties_merging import TiesMergingAlgorithm
from fusion_bench.method.wudi.wudi import WUDIMerging
from torch import Tensor, nn

from wemoe_pl import (
    EMR,
    SMILE,
    SVC,
    TIES,
    TSVM,
    WUDI,
    IsoC,
    IsoCTS,
    MergeMethod,
    ModelStock,
    RegMean,
    RegMeanPlusPlus,
    SimpleAverage,
    TALLMasks,
    TaskArithmetic,
)

State = Mapping[str, Tensor]
POSITIONS = "pos_embed"
TASKS = ("cars", "dtd", "mnist", "svhn")
SIZES = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
MOVED = 0.02  # the standard deviation of each of two terms of task vectors
IMAGES = 8


class Pool(BaseModelPool):
    """A `Pool` loads models from memory as copies, as if they came from files."""

    def load_model(self, *args: Any, **options: Any) -> Any:
        """Copy a model."""
        return deepcopy(super().load_model(*args, **options))


class TheirRegMeanPlusPlus(RegMeanAlgorithmPlusPlus):  # type: ignore[misc]
    """A `TheirRegMeanPlusPlus` is FusionBench's RegMean++ for the vision transformers of timm.

    Args:
        images: the images of every task, (N, 3, H, W).
    """

    def __init__(self, images: Mapping[str, Tensor]):
        super().__init__(
            num_regmean_examples=IMAGES,
            exclude_param_names_regex=[],
            reduce_non_diagonal_ratio=0.95,
            weight_transpose=True,
        )
        self.images = images

    def merge_embedding_layer(self, models_to_merge_dict: Mapping[str, nn.Module]) -> State:
        """Average all parameters outside the blocks."""
        states = [model.state_dict() for model in models_to_merge_dict.values()]
        outside = [name for name in states[0] if not name.startswith("blocks.")]
        return {name: torch.stack([s[name] for s in states]).mean(dim=0) for name in outside}

    def get_input_for_first_layer(self, model: nn.Module, train_dataset: str) -> list[Tensor]:
        """Return the tokens that the first block gets for the images of a task."""
        seen: list[Tensor] = []
        first = self.get_layers(model)[0]
        hook = first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        model(self.images[train_dataset])
        hook.remove()
        return seen

    def get_layers(self, model: nn.Module) -> Any:
        """Return the blocks."""
        return model.blocks

    def update_merged_params_dict(
        self, merged_params_dict: dict[str, Tensor], new_merged_params: State, layer_idx: int
    ) -> dict[str, Tensor]:
        """Add a block's weights, under their full names."""
        named = {f"blocks.{layer_idx}.{name}": w for name, w in new_merged_params.items()}
        return {**merged_params_dict, **named}

    def layer_batches_forward(self, layer: nn.Module, batches_input: list[Tensor]) -> list[Tensor]:
        """Run a block."""
        return [layer(tokens) for tokens in batches_input]

    def get_regmean_weights(
        self,
        model_name: str,
        layer: nn.Module,
        batches_input: list[Tensor],
        linear_modules_to_merge: Mapping[str, nn.Module],
    ) -> dict[str, Tensor]:
        """Compute the Gram matrices of an expert's block."""
        return gram_matrices(layer, batches_input[0])


class Row(NamedTuple):
    """A `Row` has the comparison of one method.

    Attributes:
        name: the name of the method, and its settings.
        difference: the difference of the weights or features, relative to the change by merging.
        note: the reason for the difference, if it is more than rounding.
    """

    name: str
    difference: float
    note: str = ""


def encoder(seed: int) -> nn.Module:
    """Make an encoder of random weights in double precision."""
    torch.manual_seed(seed)
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=0, **SIZES)
    return model.double().eval()


def models(tasks: tuple[str, ...] = TASKS) -> dict[str, nn.Module]:
    """Make a pretrained encoder, under the name that FusionBench gives it, and its experts."""
    pretrained, found = encoder(0), {}
    for seed, task in enumerate(tasks, start=1):
        generator, common = (torch.Generator().manual_seed(s) for s in (seed, 0))
        expert = deepcopy(pretrained)
        with torch.no_grad():
            for weight in expert.parameters():
                own, shared = (
                    torch.randn(weight.shape, generator=g, dtype=torch.float64)
                    for g in (generator, common)
                )
                weight.add_(MOVED * (own + shared))  # `shared`: none points away from another
        found[task] = expert
    return {"_pretrained_": pretrained, **found}


def ours(method: MergeMethod, given: Mapping[str, nn.Module]) -> nn.Module:
    """Merge by our method."""
    pretrained, *experts = given.items()
    return method.merge(pretrained[1], dict(experts))


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppress what FusionBench prints."""
    logging.disable()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def theirs(algorithm: Any, given: Mapping[str, nn.Module]) -> Any:
    """Merge by an algorithm of FusionBench."""
    with silence():
        return algorithm.run(Pool(dict(given)))


def difference(one: State, other: State, start: State, without: tuple[str, ...] = ()) -> float:
    """Return the largest difference of an entry, divided by the largest change of one."""
    names = [name for name in start if name not in without]
    moved = max((other[name] - start[name]).abs().max().item() for name in names)
    return max((one[name] - other[name]).abs().max().item() for name in names) / moved


def compared(
    name: str,
    method: MergeMethod,
    algorithm: Any,
    note: str = "",
    without: tuple[str, ...] = (),
    tasks: tuple[str, ...] = TASKS,
) -> Row:
    """Merge by both programs, and compare all weights."""
    given = models(tasks)
    merged = theirs(algorithm, given).state_dict()
    start = given["_pretrained_"].state_dict()
    return Row(name, difference(ours(method, given).state_dict(), merged, start, without), note)


def of_entries() -> Iterator[Row]:
    """Compare the methods that merge entry by entry."""
    yield compared("simple average", SimpleAverage(), SimpleAverageAlgorithm())
    yield compared("task arithmetic 0.3", TaskArithmetic(0.3), TaskArithmeticAlgorithm(0.3))
    size = sum(weight.numel() for weight in encoder(0).parameters())
    one_more = (int(0.2 * size) + 1) / size
    for combine in ("sum", "mean"):
        algorithm = TiesMergingAlgorithm(
            scaling_factor=0.3, threshold=20, remove_keys=[], merge_func=combine
        )
        note = "theirs keeps one entry more of every task vector"
        yield compared(f"TIES 0.3, {combine}", TIES(0.3, 0.2, combine), algorithm, note)
        name = f"TIES 0.3, {combine}, keeping one entry more"
        yield compared(name, TIES(0.3, one_more, combine), algorithm)
    yield compared("Model Stock, 2 experts", ModelStock(), TheirModelStock(), tasks=TASKS[:2])
    note = "theirs averages angles, and ours cosines, between more than two"
    yield compared("Model Stock, 4 experts", ModelStock(), TheirModelStock(), note)


def of_matrices() -> Iterator[Row]:
    """Compare the methods that merge matrix by matrix."""
    left_out = (POSITIONS,)
    yield compared("TSV-M", TSVM(), TaskSingularVectorMerging(), without=left_out)
    yield compared("Iso-C 1.5", IsoC(1.5), ISO_C_Merge(1.5), without=left_out)
    yield compared("Iso-CTS 1.5", IsoCTS(1.5), ISO_CTS_Merge(1.5, 0.8), without=left_out)
    on_top = SingularValueCalibrationWithBaseMethod(TaskArithmeticAlgorithm(1.0), 1 / len(TASKS))
    yield compared("task arithmetic 1.0 + SVC", SVC(TaskArithmetic(1.0)), on_top)
    given = models()
    mine = ours(WUDI(), given).state_dict()
    start = given["_pretrained_"].state_dict()
    other = theirs(WUDIMerging(iter_num=300), given).state_dict()
    losses = [interference(weights, given) for weights in (mine, other)]
    note = f"the loss that both minimise is {losses[0]:.3g} of ours, {losses[1]:.3g} of theirs"
    yield Row("WUDI, 300 steps", difference(mine, other, start, left_out), note)


def interference(merged: State, given: Mapping[str, nn.Module]) -> float:
    """Compute Σ ‖(τ − τ_i) τ_iᵀ‖² / ‖τ_i‖² over all matrices, which WUDI minimises."""
    start, *experts = (model.state_dict() for model in given.values())
    total = 0.0
    for name, weight in start.items():
        if weight.ndim == 2:
            for expert in experts:
                own = expert[name] - weight
                product = (merged[name] - expert[name]) @ own.T
                total += (product.square().sum() / own.square().sum()).item()
    return total


def of_tasks() -> Iterator[Row]:
    """Compare the methods that need the task of every image."""
    given = models()
    start = given["_pretrained_"].state_dict()
    mine = ours(EMR(), given)
    modulated = theirs(EMRMerging(), given)
    whole, shape = [], []
    for task in TASKS:
        with silence(), torch.no_grad():
            modulated.set_task(task)
            other = {k: w.clone() for k, w in modulated.backbone.state_dict().items()}
        own = {k: w.clone() for k, w in mine.become(task).state_dict().items()}
        whole.append(difference(own, other, start))
        own, other = (scaled(weights, start) for weights in (own, other))
        shape.append(difference(own, other, dict.fromkeys(start, torch.zeros(()))))
    yield Row(
        "EMR", max(whole), "the paper's factor is a ratio of sums, theirs of means of tensors"
    )
    yield Row("EMR but for its factor", max(shape))
    mine = ours(TALLMasks(0.4), given)
    note = "theirs compares with |θ0 − τ|, since it takes the pretrained weights for a task vector"
    yield Row("TALL masks 0.4", max(masked(given, mine, start)), note)
    nothing = {name: torch.zeros_like(weight) for name, weight in start.items()}
    name = "TALL masks 0.4, the pretrained task vector being 0"
    yield Row(name, max(masked(given, mine, nothing)))


def scaled(weights: State, start: State) -> State:
    """Return the change of the pretrained weights, scaled to a norm of 1."""
    added = {name: weights[name] - start[name] for name in start}
    norm = torch.stack([values.square().sum() for values in added.values()]).sum().sqrt()
    return {name: values / norm for name, values in added.items()}


def masked(given: Mapping[str, nn.Module], mine: Any, third: State) -> Iterator[float]:
    """Compare with the masks of FusionBench, whose algorithm stops before it applies them.

    Args:
        given: the models.
        mine: the model that our method has merged.
        third: the third argument of FusionBench's function.
    """
    start, *experts = (model.state_dict() for model in given.values())
    vectors = [{name: expert[name] - start[name] for name in start} for expert in experts]
    total = {name: sum(vector[name] for vector in vectors) for name in start}
    for task, vector in zip(TASKS, vectors, strict=True):
        with silence():
            masks = generate_task_masks(total, vector, third, 0.4)
        merged = {name: start[name] + masks[name] * total[name] for name in start}
        yield difference(mine.become(task).state_dict(), merged, start)


def of_samples() -> Iterator[Row]:
    """Compare RegMean and RegMean++; FusionBench computes Gram matrices of its own models only."""
    given = models()
    pretrained, *experts = given.values()
    images = {task: torch.randn(IMAGES, 3, 32, 32).double() for task in TASKS}
    samples = {task: [(batch, torch.zeros(IMAGES))] for task, batch in images.items()}
    merged = RegMean(0.95).merge_with_samples(
        pretrained, dict(zip(TASKS, experts, strict=True)), samples
    )
    grams = [
        gram_matrices(expert, images[task]) for task, expert in zip(TASKS, experts, strict=True)
    ]
    states = [expert.state_dict() for expert in experts]
    named = {name: [state[name] for state in states] for name in states[0]}
    with silence():
        other = merging_with_regmean_weights(named, grams, reduce_non_diagonal_ratio=0.95)
    yield Row("RegMean 0.95", difference(merged.state_dict(), other, pretrained.state_dict()))
    merged = RegMeanPlusPlus(0.95).merge_with_samples(
        pretrained, dict(zip(TASKS, experts, strict=True)), samples
    )
    pool = Pool(given, train_datasets={task: task for task in TASKS})
    pool.load_train_dataset = lambda task: task
    with silence():
        other = TheirRegMeanPlusPlus(images).run(pool).state_dict()
    yield Row("RegMean++ 0.95", difference(merged.state_dict(), other, pretrained.state_dict()))


@torch.no_grad()
def gram_matrices(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Compute XᵀX / N of the input X of every linear layer."""
    found: dict[str, Tensor] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            x = inputs[0].flatten(0, -2)
            found[name] = x.T @ x / len(x)

        return hook

    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in linear.items()]
    model(images)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def routed() -> Iterator[Row]:
    """Compare the features of SMILE, which has no merged weights."""
    given = models()
    images = torch.randn(IMAGES, 3, 32, 32).double()
    mine = ours(SMILE(8, 4, split_qkv=False), given)
    algorithm = SmileUpscalingAlgorithm(
        device="cpu",
        upscaling_accelerator=None,
        full_matrices=True,
        gate_k=4,
        k=8,
        top_k=1,
        routing_use_diff=True,
        average_experts=False,
        model_path=None,
    )
    other = theirs(algorithm, given)(images)
    start = given["_pretrained_"](images)
    spread = (other - start).abs().max()
    yield Row("SMILE 8, 4 (features)", ((mine(images) - other).abs().max() / spread).item())


def main() -> None:
    """Print a table."""
    print("| method | largest difference | |\n| --- | ---: | --- |")
    for rows in (of_entries(), of_matrices(), of_tasks(), of_samples(), routed()):
        for row in rows:
            print(f"| {row.name} | {row.difference:.1e} | {row.note} |", flush=True)


if __name__ == "__main__":
    main()
