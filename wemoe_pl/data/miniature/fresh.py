"""Render test images of the miniature tasks from another seed, which no model has seen."""

from dataclasses import dataclass, replace

from wemoe_pl.data.miniature.task import MiniatureTask
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import ConfigError, at_least


@dataclass(frozen=True)
class FreshRender:
    """A `FreshRender` replaces the test images of a miniature task by images of another seed.

    Args:
        seed: the seed of the images, which must differ from the seed of the tasks.
        images: the number of images of every task.

    >>> FreshRender(seed=7).task("mnist", MiniatureTask("mnist"))
    MiniatureTask(name='mnist', train_size=4000, test_size=2000, seed=7)
    """

    seed: int
    images: int = 2000

    def __post_init__(self) -> None:
        """Refuse a negative seed, before any task is rendered."""
        at_least(0, "test_render.seed", self.seed)

    def task(self, name: str, task: VisionTask) -> MiniatureTask:
        """Return a task with these test images.

        Args:
            name: the name of the task in its suite.
            task: the task as the suite has it.

        Raises:
            ConfigError: the task is not rendered, its own images have the same seed, or a class
                would have no image.
        """
        if not isinstance(task, MiniatureTask):
            raise ConfigError(
                f"test_render renders new images for tasks of the miniature suites, but '{name}' "
                f"is a {type(task).__name__}: leave out test_render, or this task."
            )
        if task.seed == self.seed:
            raise ConfigError(
                f"test_render.seed is {self.seed}, the seed of the images that '{name}' has "
                "already: give another."
            )
        at_least(len(task.classes), "test_render.images", self.images)
        return replace(task, seed=self.seed, test_size=self.images)
