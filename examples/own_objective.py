"""Adapt WEMoE by an objective of one's own, on three rendered tasks of the miniature."""

from dataclasses import dataclass

import lightning as L
from torch import Tensor

from wemoe_pl import (
    AdaptationOutputs,
    Backbone,
    MiniatureTask,
    MultiTaskData,
    Objective,
    StepProgressBar,
    Suite,
    TestTimeAdaptation,
    WEMoE,
)


@dataclass(frozen=True)
class LogitMatching(Objective):
    """Give each class the number that the task's own expert gives it."""

    power: float = 2.0
    needs = ("expert_logits",)

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return a power of the distance, in the mean over images and classes."""
        distance = (outputs.logits - outputs.expert_logits).abs()
        return distance.pow(self.power).mean()


def main(steps: int = 50) -> dict[str, float]:
    """Adapt for some steps, and return the accuracy on each task."""
    tiny = {"img_size": 28, "patch_size": 4, "embed_dim": 96, "depth": 4, "num_heads": 4}
    tasks = ("cars", "eurosat", "mnist")
    suite = Suite(
        name="three tasks of the miniature",
        backbone=Backbone("vit_tiny_patch16_224", tiny),
        pretrained="shipped:miniature/encoder.safetensors",
        experts={task: f"shipped:miniature/experts/{task}.safetensors" for task in tasks},
        heads={task: f"shipped:miniature/heads/{task}.safetensors" for task in tasks},
        tasks={task: MiniatureTask(task, test_size=100) for task in tasks},
    )
    module = TestTimeAdaptation(
        suite, WEMoE(), learning_rate=5e-3, references=False, objective=LogitMatching()
    )
    data = MultiTaskData(suite)
    trainer = L.Trainer(
        max_steps=steps, logger=False, enable_checkpointing=False, callbacks=[StepProgressBar()]
    )
    if steps:
        trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    accuracy: dict[str, float] = module.test_results["accuracy"]
    return accuracy


if __name__ == "__main__":
    print("before:", main(steps=0))
    print("after:", main())
