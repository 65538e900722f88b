"""MASS for one image, written out in numpy, with nothing of the package but its options."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from wemoe_pl.merging.mass import MASS

Arrays = dict[str, np.ndarray]
Part = tuple[np.ndarray, np.ndarray, np.ndarray]


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def put_together(parts: list[Part]) -> np.ndarray:
    left = orthogonal(np.concatenate([part[0] for part in parts], axis=1))
    right = orthogonal(np.concatenate([part[2] for part in parts]))
    return left @ np.diag(np.concatenate([part[1] for part in parts])) @ right


def truncated(matrix: np.ndarray, count: int) -> Part:
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = max(1, len(values) // count)
    return left[:, :kept], values[:kept], right[:kept]


def alike(one: Part, other: Part) -> float:
    a, b = (left @ np.diag(values) @ right for left, values, right in (one, other))
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def merged(vectors: list[Arrays], tasks: tuple[int, ...], count: int, most_alike: float) -> Arrays:
    result: Arrays = {}
    for name in vectors[0]:
        squeezed = [vector[name].squeeze() for vector in vectors]
        if squeezed[0].ndim != 2:
            result[name] = np.mean([vectors[i][name] for i in tasks], axis=0)
            continue
        parts: list[Part] = []
        for i in tasks:
            part = truncated(squeezed[i], count)
            if all(alike(part, other) <= most_alike for other in parts):
                parts.append(part)
        result[name] = put_together(parts).reshape(vectors[0][name].shape)
    return result


def mass_of_an_image(
    method: MASS, pretrained: nn.Module, experts: dict[str, nn.Module], image: Tensor
) -> tuple[Tensor, tuple[int, ...]]:
    """The features of an image (3, H, W), and the numbers of the tasks that it has chosen."""
    base = {name: weight.detach().numpy() for name, weight in pretrained.named_parameters()}
    vectors = [
        {name: weight.detach().numpy() - base[name] for name, weight in expert.named_parameters()}
        for expert in experts.values()
    ]
    count = len(vectors)

    def run(tasks: tuple[int, ...], most_alike: float) -> Tensor:
        change = merged(vectors, tasks, count, most_alike)
        weights = {name: torch.from_numpy(base[name] + change[name]) for name in base}
        return functional_call(pretrained, weights, (image[None],))[0]

    blocks = pretrained.get_submodule("blocks")
    number = round(method.depth * (len(list(blocks.children())) - 1))
    seen: list[np.ndarray] = []
    mlp = blocks.get_submodule(f"{number}.mlp")
    hook = mlp.register_forward_pre_hook(lambda _, x: seen.append(x[0][0].detach().numpy()))
    run(tuple(range(count)), method.most_alike)
    hook.remove()
    has_class_token = getattr(pretrained, "cls_token", None) is not None
    z = seen[0][0] if has_class_token else seen[0].mean(axis=0)
    residuals = []
    for vector in vectors:
        _, _, right = truncated(vector[f"blocks.{number}.mlp.fc1.weight"], count)
        residuals.append(np.linalg.norm(z - right.T @ (right @ z)))
    logits = -np.array(residuals)
    logits = (logits - logits.mean()) / (logits.std(ddof=1) + 1e-6) / method.temperature
    shares = np.exp(logits) / np.exp(logits).sum()
    ranked = [int(i) for i in np.argsort(-shares, kind="stable")]
    chosen = [i for i in ranked if shares[i] > method.threshold][: method.most_experts]
    tasks = tuple(sorted(chosen or ranked[:1]))
    return run(tasks, 1.0), tasks
