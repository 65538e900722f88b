"""The kernels, an adaptation step and a resumed run on a GPU, compared with a CPU in float64.

`benchmarks/gpu_check.sh` runs these on a GPU, at the size of ViT-B/32; elsewhere they run on a CPU,
small, with Triton's interpreter. They need none of the fixtures of other tests.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch
from timm.layers import SwiGLU
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.checkpoints import Backbone, save_tensors
from wemoe_pl.checkpoints.heads import CosineHead, save_head
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.miniature import CLASSES, MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels import merged_mlp
from wemoe_pl.moe.kernels.fused import fused_mlp
from wemoe_pl.moe.kernels.naive import naive_mlp
from wemoe_pl.moe.kernels.plain import activation_mlp, untiled_mlp
from wemoe_pl.moe.kernels.tiled import tiled_mlp
from wemoe_pl.moe.kernels.two_layers import Kernel, two_layers
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTH, HIDDEN, SAMPLES, TOKENS = (768, 3072, 16, 50) if DEVICE == "cuda" else (48, 192, 3, 10)
EXPERTS = 8


class Precision(NamedTuple):
    """How numbers are held, how products are computed, and what that may cost.

    Attributes:
        dtype: of weights and inputs.
        products: `torch.set_float32_matmul_precision`.
        error: the largest deviation that is fine, as a share of the largest number.
    """

    dtype: torch.dtype
    products: str
    error: float


PRECISIONS = {
    "float32": Precision(torch.float32, "highest", 2e-5),
    "tf32": Precision(torch.float32, "high", 5e-3),
    "bfloat16": Precision(torch.bfloat16, "highest", 4e-2),
}
KERNELS: dict[str, Kernel] = {
    "tiled": tiled_mlp, "fused": fused_mlp, "activation": activation_mlp, "untiled": untiled_mlp,
}  # fmt: skip


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    """Precision of products and deterministic algorithms are as they were."""
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(False)


class Case(NamedTuple):
    """An MLP with a dictionary, routing weights and tokens, in float64 on the CPU."""

    mlp: nn.Module
    dictionary: Dictionary
    routing_weights: Tensor
    x: Tensor

    @classmethod
    def of(cls, build: Callable[[], nn.Module]) -> "Case":
        """Draw everything from one seed; task vectors are small beside the weights."""
        torch.manual_seed(0)
        mlp = build().double().requires_grad_(False)
        moe = WeightEnsemblingMoE(mlp, [near(mlp) for _ in range(EXPERTS)], compression=Dense())
        routing_weights = torch.rand(SAMPLES, EXPERTS).double().requires_grad_()
        x = torch.randn(SAMPLES, TOKENS, WIDTH).double().requires_grad_()
        return cls(moe.mlp, moe.task_vectors, routing_weights, x)

    def on_device(self, dtype: torch.dtype) -> "Case":
        """The same on the device that is checked, in a precision."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.detach().to(DEVICE, dtype).requires_grad_()

        torch.manual_seed(0)
        mlp, dictionary = self.mlp.to(DEVICE, dtype), self.dictionary.to(DEVICE, dtype)
        return Case(mlp, dictionary, moved(self.routing_weights), moved(self.x))


@torch.no_grad()
def near(mlp: nn.Module) -> dict[str, Tensor]:
    """The weights of a copy that was fine-tuned a little."""
    return {n: w + 0.1 * w.std() * torch.randn_like(w) for n, w in mlp.named_parameters()}


def run(case: Case, compute: Callable[[Case], Tensor]) -> list[Tensor]:
    """Output and both gradients, in float64 on the CPU."""
    out = compute(case)
    upstream = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out)
    gradients = torch.autograd.grad(out, (case.routing_weights, case.x), upstream)
    return [tensor.detach().double().cpu() for tensor in (out, *gradients)]


def reference(case: Case) -> list[Tensor]:
    """`naive_mlp`, sample by sample."""
    one_hot = torch.eye(EXPERTS).double()
    vectors = {name: v.mix(one_hot) for name, v in case.dictionary.items()}
    return run(case, lambda c: naive_mlp(c.mlp, vectors, c.routing_weights, c.x))


def assert_near(actual: list[Tensor], expected: list[Tensor], error: float) -> None:
    """No number deviates by more than a share of the largest."""
    for found, right in zip(actual, expected, strict=True):
        assert (found - right).abs().max() <= error * right.abs().max()


def plain_mlp() -> nn.Module:
    return Mlp(WIDTH, HIDDEN)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_kernel_agrees_with_the_loop_over_samples(precision: str, kernel: str) -> None:
    case, (dtype, products, error) = Case.of(plain_mlp), PRECISIONS[precision]
    expected = reference(case)
    torch.set_float32_matmul_precision(products)
    given = case.on_device(dtype)
    layers = two_layers(given.mlp, given.dictionary)
    assert layers is not None
    actual = run(given, lambda c: KERNELS[kernel](layers, c.routing_weights, c.x))
    assert_near(actual, expected, error)


FORMS: dict[str, Callable[[], nn.Module]] = {
    "chosen": plain_mlp,
    "norm": lambda: Mlp(WIDTH, HIDDEN, norm_layer=nn.LayerNorm),
    "gated": lambda: SwiGLU(WIDTH, HIDDEN * 2 // 3, norm_layer=nn.LayerNorm),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_form_of_mlp_agrees_with_the_loop_over_samples(precision: str, form: str) -> None:
    case, (dtype, products, error) = Case.of(FORMS[form]), PRECISIONS[precision]
    expected = reference(case)
    torch.set_float32_matmul_precision(products)
    actual = run(case.on_device(dtype), lambda c: merged_mlp(*c))
    assert_near(actual, expected, error)


def test_autocast_gives_its_own_precision() -> None:
    case = Case.of(plain_mlp)
    expected = reference(case)
    given = case.on_device(torch.float32)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert merged_mlp(*given).dtype == torch.bfloat16
        actual = run(given, lambda c: merged_mlp(*c))
    assert_near(actual, expected, PRECISIONS["bfloat16"].error)


def test_deterministic_runs_repeat_bit_by_bit() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    given = Case.of(plain_mlp).on_device(torch.float32)
    first, second = (run(given, lambda c: merged_mlp(*c)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def small_encoder() -> nn.Module:
    """Two blocks, of the width that is checked."""
    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=12, num_classes=0
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_adaptation_step_has_the_gradients_of_the_cpu(precision: str) -> None:
    dtype, products, error = PRECISIONS[precision]
    torch.manual_seed(0)
    pretrained = small_encoder().double()
    experts = {str(i): near(pretrained) for i in range(EXPERTS)}
    encoder = WEMoE().merge(pretrained, experts)
    images = torch.randn(SAMPLES, 3, 32, 32).double()

    def gradients(images: Tensor) -> Tensor:
        logits = 10 * torch.nn.functional.normalize(encoder(images)[:, :20], dim=-1)
        entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
        routers = [w for w in encoder.parameters() if w.requires_grad]
        found = torch.autograd.grad(entropy, routers)
        return torch.cat([gradient.flatten() for gradient in found]).double().cpu()

    expected = gradients(images)
    torch.set_float32_matmul_precision(products)
    encoder.to(DEVICE, dtype)
    actual = gradients(images.to(DEVICE, dtype))
    deviation = (actual - expected).norm() / expected.norm()
    assert deviation <= 5 * error


TASKS = ("mnist", "svhn")


def small_suite(folder: Path) -> Suite:
    """Two rendered tasks, with encoders and heads of random weights."""
    options = {"img_size": 28, "patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2}
    backbone = Backbone("vit_tiny_patch16_224", {**options, "num_classes": 0})
    torch.manual_seed(0)
    for name in ("pretrained", *TASKS):
        save_tensors(folder / f"{name}.safetensors", backbone.build().state_dict(), {})
    for task in TASKS:
        head = CosineHead(torch.randn(len(CLASSES[task]), 24), CLASSES[task], 10.0)
        save_head(folder / f"head_{task}.safetensors", head, {})
    return Suite(
        name="small",
        backbone=backbone,
        pretrained=str(folder / "pretrained.safetensors"),
        experts={task: str(folder / f"{task}.safetensors") for task in TASKS},
        heads={task: str(folder / f"head_{task}.safetensors") for task in TASKS},
        tasks={task: MiniatureTask(task, train_size=20, test_size=20) for task in TASKS},
    )


class Killed(L.Callback):
    """Ends a fit in its third step, as a machine may."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Raise an error in the third step."""
        if trainer.global_step == 2:
            raise RuntimeError("killed")


def fit(suite: Suite, device: str, out: Path, killed: bool = False, **options: Any) -> Tensor:
    """Adapt for four steps, and give the routers' weights."""
    callbacks: list[L.Callback] = [LastCheckpoint(str(out)), *([Killed()] if killed else [])]
    switches = ("logger", "enable_progress_bar", "enable_model_summary")
    trainer = L.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_steps=4,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        default_root_dir=out,
        **dict.fromkeys(switches, False),  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    module = TestTimeAdaptation(suite, WEMoE(), learning_rate=1e-2)
    trainer.fit(module, MultiTaskData(suite, batch_size=4), **options)
    return torch.cat([w.detach().flatten().cpu() for w in module.trained_parameters().values()])


@pytest.mark.parametrize("devices", [(DEVICE, "cpu"), ("cpu", DEVICE)], ids=str)
def test_a_checkpoint_of_one_device_goes_on_on_another(
    devices: tuple[str, str], tmp_path: Path
) -> None:
    suite = small_suite(tmp_path)
    expected = fit(suite, "cpu", tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        fit(suite, devices[0], tmp_path / "killed", killed=True)
    last = tmp_path / "killed/last.ckpt"
    actual = fit(suite, devices[1], tmp_path / "resumed", ckpt_path=last)
    assert (actual - expected).norm() <= 1e-3 * expected.norm()
