"""A checkpoint of other files, or of another model, is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

NewTrainer = Callable[..., L.Trainer]


def test_a_checkpoint_is_refused_with_another_expert(
    tiny_suite: Suite, quiet_trainer: NewTrainer, checkpoint: Path
) -> None:
    other = tiny_suite.experts | {"dtd": tiny_suite.pretrained}
    module = TestTimeAdaptation(replace(tiny_suite, experts=other), WEMoE())
    with pytest.raises(
        CheckpointError, match=r"other experts/dtd: it was .*dtd\.safetensors .*pretrained\.safeten"
    ):
        quiet_trainer().test(module, MultiTaskData(tiny_suite), ckpt_path=checkpoint)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_checkpoint_is_refused_by_routers_of_another_depth(
    tiny_suite: Suite, quiet_trainer: NewTrainer, checkpoint: Path, depth: int
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(router_depth=depth))
    with pytest.raises(CheckpointError, match=r"does not fit WEMoE .*'.*\.router\.\w+.*' is"):
        quiet_trainer().test(module, MultiTaskData(tiny_suite), ckpt_path=checkpoint)


def test_a_checkpoint_is_refused_with_another_lambda(
    tiny_suite: Suite, quiet_trainer: NewTrainer, checkpoint: Path
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(init_lambda=0.5))
    with pytest.raises(CheckpointError, match=r"another merge method: .*0\.3.* is now .*0\.5"):
        quiet_trainer().test(module, MultiTaskData(tiny_suite), ckpt_path=checkpoint)


def test_a_checkpoint_is_refused_with_the_experts_in_another_order(
    tiny_suite: Suite, quiet_trainer: NewTrainer, checkpoint: Path
) -> None:
    turned = replace(tiny_suite, experts=dict(reversed(tiny_suite.experts.items())))
    with pytest.raises(CheckpointError, match=r"another order of experts"):
        quiet_trainer().test(
            TestTimeAdaptation(turned, WEMoE()), MultiTaskData(turned), ckpt_path=checkpoint
        )
