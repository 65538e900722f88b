"""What a fit refuses of its config, told before it begins."""

from typing import Any

import pytest
import torch

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.preflight.settings import check_devices, check_fit
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.finetune import ExpertFineTuning


def test_a_task_is_for_fine_tuning(tiny_suite: Suite) -> None:
    check_fit(ExpertFineTuning(tiny_suite, "cars"), "cars", 100, 16)
    with pytest.raises(ConfigError, match=r"--task has no effect on this job.*leave out 'cars'"):
        check_fit(TestTimeAdaptation(tiny_suite, WEMoE()), "cars", 100, 16)


@pytest.mark.parametrize("interval", [0, -1, 0.0])
def test_an_interval_is_above_0(tiny_suite: Suite, interval: float) -> None:
    with pytest.raises(ConfigError, match=f"val_check_interval is {interval}: give a number"):
        check_fit(TestTimeAdaptation(tiny_suite, WEMoE()), None, interval, 16)


def test_a_diversity_term_needs_several_images_per_step(tiny_suite: Suite) -> None:
    check_fit(TestTimeAdaptation(tiny_suite, WEMoE(), diversity=1), None, 100, 2)
    check_fit(TestTimeAdaptation(tiny_suite, WEMoE()), None, 100, 1)
    with pytest.raises(ConfigError, match=r"set data\.batch_size to 2 or more"):
        check_fit(TestTimeAdaptation(tiny_suite, WEMoE(), diversity=1), None, 100, 1)


@pytest.mark.parametrize(
    ("merge", "options", "processes", "complaint"),
    [
        (WEMoE(routing="batch"), {}, 2, "takes the mean over the images of a step"),
        (WEMoE(routing="batch"), {"announced": False}, 1, "routing by batch is for images of one"),
        (WEMoE(start_images=2), {"announced": False}, 1, "fitted to images of known tasks"),
        (WEMoE(), {"announced": False}, 2, "2 devices share a step"),
        (WEMoE(), {"announced": False}, 1, "a step is split by task"),
    ],
)
def test_a_stream_that_cannot_be_is_told_before_a_model_is_built(
    tiny_suite: Suite, merge: WEMoE, options: dict[str, Any], processes: int, complaint: str
) -> None:
    check_fit(TestTimeAdaptation(tiny_suite, merge), None, 100, 16)
    with pytest.raises(ConfigError, match=complaint):
        check_fit(TestTimeAdaptation(tiny_suite, merge, **options), None, 100, 16, processes, 2)


def test_devices_that_are_not_here_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for accelerator in ("cpu", "auto"):
        check_devices(accelerator, 1)
    with pytest.raises(ConfigError, match="accelerator is gpu, but this machine has no GPU"):
        check_devices("gpu", "auto")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices("gpu", 2)
    check_devices("gpu", -1)
    with pytest.raises(ConfigError, match="devices is 4, but this machine has 2 GPUs"):
        check_devices("gpu", 4)
