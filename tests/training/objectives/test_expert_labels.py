"""The labels of the experts against a loop over images in plain Python, and in an adaptation."""

import math
from collections.abc import Callable, Sequence

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.optim import Adam

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.streams import StepBatches
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.model.building import build_classifier
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.objectives.expert_labels import ExpertLabels
from wemoe_pl.training.objectives.outputs import AdaptationOutputs

STEPS, BATCH_SIZE, LEARNING_RATE = 2, 4, 0.02


def loss(logits: Tensor, expert_logits: Tensor) -> Tensor:
    return ExpertLabels()(AdaptationOutputs("mnist", logits, {"expert_logits": expert_logits}))


def probabilities(row: list[float]) -> list[float]:
    return [math.exp(x) / sum(map(math.exp, row)) for x in row]


def written_out(logits: list[list[float]], expert_logits: list[list[float]]) -> tuple[float, int]:
    """The mean cross-entropy over the images that are kept, and their number."""
    losses = []
    pairs = zip(logits, expert_logits, strict=True)
    for ours, theirs in ((probabilities(a), probabilities(b)) for a, b in pairs):
        label = theirs.index(max(theirs))
        if ours.index(max(ours)) == label or max(theirs) >= max(ours):
            losses.append(-math.log(ours[label]))
    return sum(losses) / max(1, len(losses)), len(losses)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_loss_and_its_gradient_match_those_written_out(scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    logits, expert_logits = torch.randn(2, 40, 5, generator=generator, dtype=torch.float64) * 2
    logits = (logits * scale).requires_grad_()
    found = loss(logits, expert_logits)
    found.backward()
    expected, kept = written_out(logits.tolist(), expert_logits.tolist())
    assert 0 < kept < 40
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert logits.grad is not None
    p = logits.detach().softmax(dim=-1)
    labels = torch.nn.functional.one_hot(expert_logits.argmax(dim=-1), 5)
    learned = logits.grad.any(dim=1)
    assert learned.sum() == kept
    torch.testing.assert_close(logits.grad[learned], ((p - labels) / kept)[learned])


def test_without_the_filter_every_image_counts() -> None:
    generator = torch.Generator().manual_seed(4)
    logits, theirs = 3 * torch.randn(2, 40, 5, generator=generator, dtype=torch.float64)
    outputs = AdaptationOutputs("mnist", logits.requires_grad_(), {"expert_logits": theirs})
    expected = 0.0
    for row, other in zip(logits.tolist(), theirs.tolist(), strict=True):
        expected -= math.log(probabilities(row)[other.index(max(other))])
    found = ExpertLabels(trusted_only=False)(outputs)
    assert found.item() == pytest.approx(expected / 40, rel=1e-12)
    assert abs(found.item() - ExpertLabels()(outputs).item()) > 0.1


def test_nothing_is_learned_where_no_image_is_kept() -> None:
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 8.0, 0.0]], requires_grad=True)
    found = loss(logits, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    found.backward()
    assert found.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_an_expert_of_the_same_confidence_is_learned_from() -> None:
    logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    found = loss(logits, torch.tensor([[0.0, 2.0]]))
    assert found.item() == pytest.approx(2 + math.log1p(math.exp(-2)), rel=1e-6)


def test_a_loss_of_certain_predictions_is_finite() -> None:
    logits = (torch.eye(3) * 1e4).requires_grad_()
    found = loss(logits, torch.eye(3).roll(1, 0) * 1e4)
    found.backward()
    assert found.item() == pytest.approx(1e4)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_coefficients_per_tensor_learn_as_in_a_loop_written_out(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    method = AdaMerging("layer", clamp=True)
    module = TestTimeAdaptation(
        tiny_suite,
        method,
        learning_rate=LEARNING_RATE,
        schedule="constant",
        objective=ExpertLabels(),
    )
    data = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE)
    quiet_trainer(max_steps=STEPS).fit(module, data)

    merged = build_classifier(tiny_suite, method)
    experts = build_classifier(tiny_suite, Individual())
    [coefficients] = [p for p in merged.parameters() if p.requires_grad]
    optimizer = Adam([coefficients], lr=LEARNING_RATE)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in tiny_suite.tasks}
    batches = StepBatches(tasks, BATCH_SIZE, tasks_per_batch=3, seed=0)
    for step in range(STEPS):
        optimizer.zero_grad()
        for task, (images, _) in batches[step].items():
            logits = merged(images, task)
            with torch.no_grad():
                theirs = experts(images, task).softmax(dim=-1)
            confidence, label = theirs.max(dim=-1)
            ours = logits.detach().softmax(dim=-1)
            agree = ours.argmax(dim=-1) == label
            kept = [i for i in range(len(images)) if agree[i] or confidence[i] >= ours[i].max()]
            terms = [-logits[i].log_softmax(dim=-1)[label[i]] for i in kept]
            if terms:
                torch.stack(terms).mean().backward()
        optimizer.step()
    [found] = module.trained_parameters().values()
    assert not torch.allclose(found, torch.full_like(found, 0.3))
    torch.testing.assert_close(found.detach(), coefficients.detach(), rtol=0, atol=1e-5)


class Adam64:
    """The optimiser as its paper writes it."""

    def __init__(self, parameters: list[Tensor], rate: float):
        self.parameters, self.rate, self.step = parameters, rate, 0
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]

    def move(self, gradients: Sequence[Tensor]) -> None:
        self.step += 1
        for p, g, m, v in zip(self.parameters, gradients, self.first, self.second, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            scale = ((v / (1 - 0.999**self.step)).sqrt() + 1e-8) * (1 - 0.9**self.step)
            p.data.sub_(self.rate * m / scale)


def test_coefficients_and_heads_learn_as_in_double_precision_written_out(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = TestTimeAdaptation(
        tiny_suite,
        AdaMerging("layer", clamp=True, trains_heads=True),
        learning_rate=LEARNING_RATE,
        schedule="constant",
        objective=ExpertLabels(),
    )
    data = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE)
    quiet_trainer(max_steps=STEPS, precision="64-true").fit(module, data)

    encoder = tiny_suite.load_pretrained().double()
    base = {name: weight.detach() for name, weight in encoder.named_parameters()}
    states = tiny_suite.load_experts()
    own = {task: {n: state[n].double() for n in base} for task, state in states.items()}
    coefficients = torch.full((len(base), len(own)), 0.3, dtype=torch.float64, requires_grad=True)
    directions = {
        task: torch.nn.functional.normalize(tiny_suite.load_head(task).weight.double(), dim=1)
        for task in own
    }
    weights = {task: (10 * rows).detach().requires_grad_() for task, rows in directions.items()}
    biases = {t: torch.zeros_like(w[:, 0]).requires_grad_() for t, w in weights.items()}

    def merged() -> dict[str, Tensor]:
        result = {}
        for row, (name, start) in enumerate(base.items()):
            shares = coefficients[row].clamp(0, 1)
            moved = [shares[i] * (o[name] - start) for i, o in enumerate(own.values())]
            result[name] = start + sum(moved, start=torch.zeros_like(start))
        return result

    learned = [coefficients, *weights.values(), *biases.values()]
    optimizer = Adam64(learned, LEARNING_RATE)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in tiny_suite.tasks}
    batches = StepBatches(tasks, BATCH_SIZE, tasks_per_batch=3, seed=0)
    for step in range(STEPS):
        total = torch.zeros((), dtype=torch.float64)
        for task, (images, _) in batches[step].items():
            features = functional_call(encoder, merged(), (images.double(),))
            features = features / features.norm(dim=1, keepdim=True)
            logits = features @ weights[task].T + biases[task]
            theirs = functional_call(encoder, own[task], (images.double(),))
            theirs = 10 * theirs / theirs.norm(dim=1, keepdim=True) @ directions[task].T
            labels = theirs.argmax(dim=1).tolist()
            kept = [
                i
                for i, (a, b) in enumerate(zip(logits.softmax(1), theirs.softmax(1), strict=True))
                if a.argmax() == labels[i] or b.max() >= a.max()
            ]
            losses = [-logits[i].log_softmax(dim=0)[labels[i]] for i in kept]
            total = total + sum(losses, start=0 * logits.sum()) / max(1, len(kept))
        optimizer.move(torch.autograd.grad(total, learned))

    found = module.trained_parameters()
    expected = {"classifier.encoder.coefficients": coefficients}
    expected |= {f"classifier.heads.{task}.weight": weights[task] for task in own}
    expected |= {f"classifier.heads.{task}.bias": biases[task] for task in own}
    assert set(found) == set(expected)
    for name, values in expected.items():
        # Task vectors are subtracted in single precision, before Lightning makes them double.
        torch.testing.assert_close(found[name], values, rtol=1e-6, atol=1e-7)
    for task, start in directions.items():
        assert not torch.allclose(weights[task], 10 * start)
        assert tiny_suite.load_head(task).weight.requires_grad is False
