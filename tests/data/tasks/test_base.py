"""What a task of one's own must say, and what it need not."""

from wemoe_pl.data.tasks import ImageFiles, Images, Split, VisionTask
from wemoe_pl.data.tasks.base import DEFAULT_TEMPLATES


class Coins(VisionTask):
    """As little as a task can be."""

    @property
    def classes(self) -> tuple[str, ...]:
        return ("heads", "tails")

    def images(self, split: Split) -> Images:
        return ImageFiles([], [])


def test_a_task_needs_only_classes_and_images() -> None:
    task = Coins()
    assert task.prompts == DEFAULT_TEMPLATES == ("a photo of a {}.",)
    assert task.hub_files("test") is None
    assert len(task.images("test")) == 0
    assert task.orders == {}  # it gives its classes their order
