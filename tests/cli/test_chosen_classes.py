"""The classes that keys take."""

from abc import abstractmethod

import pytest

from wemoe_pl.cli.chosen_classes import choices_of
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.training.module import MultiTaskModule


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (MultiTaskModule, {"ExpertFineTuning", "MultiTaskTraining", "TestTimeAdaptation"}),
        (VisionData, {"MultiTaskData", "TaskData"}),
        (MergeMethod, {"Individual", "Pretrained", "TaskArithmetic", "WEMoE"}),
        (VisionTask, {"ImageFolderTask", "MiniatureTask"}),
    ],
)
def test_every_class_that_can_be_chosen_is_listed(base: type, names: set[str]) -> None:
    assert names <= set(choices_of(base))


def test_a_class_that_is_not_finished_cannot_be_chosen() -> None:
    class Unfinished:
        @abstractmethod
        def finish(self) -> None: ...

    class Finished(Unfinished):
        def finish(self) -> None: ...

    assert choices_of(Unfinished) == {"Finished": Finished}
    assert "SupervisedTraining" not in choices_of(MultiTaskModule)
