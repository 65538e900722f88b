"""What is exported: a model put together from its recipe and from what was learned."""

from collections.abc import Callable

import pytest
import torch

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.pruned import PrunedVectors

MakeModel = Callable[[MergeMethod], ExportedModel]


def test_what_was_learned_must_belong_to_the_model(clip_suite: Suite) -> None:
    with pytest.raises(CheckpointError, match=r"this TaskArithmetic: 'router' is not a part of it"):
        ExportedModel.assemble(clip_suite, TaskArithmetic(), {"router": torch.ones(1)})
    routers = ExportedModel.assemble(clip_suite, WEMoE(), {}, is_adapted=False).adapted
    name = "encoder.blocks.0.mlp.router.out.bias"
    complaint = r"router\.out\.bias' has shape \(7,\) instead of \(2,"
    with pytest.raises(CheckpointError, match=complaint):
        ExportedModel.assemble(clip_suite, WEMoE(), {**routers, name: torch.ones(7)})


@pytest.mark.parametrize("kept", [0, 1, -1])
def test_all_that_was_learned_is_needed(clip_suite: Suite, kept: int) -> None:
    routers = dict(ExportedModel.assemble(clip_suite, WEMoE(), {}, is_adapted=False).adapted)
    fewer = dict([*routers.items()][:kept])
    with pytest.raises(CheckpointError, match=r"to another model than this WEMoE: '.*' is missing"):
        ExportedModel.assemble(clip_suite, WEMoE(), fewer)


def test_routers_that_were_not_adapted_are_kept_as_they_are(clip_suite: Suite) -> None:
    model = ExportedModel.assemble(clip_suite, WEMoE(), {}, is_adapted=False)
    again = ExportedModel.assemble(clip_suite, WEMoE(), model.adapted)
    assert again.features.equal(model.features)


def test_images_to_compare_by_are_always_the_same(make_model: MakeModel) -> None:
    model = make_model(TaskArithmetic())
    assert model.images.equal(make_model(WEMoE()).images)
    assert model.images.shape == (3, 3, 32, 32)
    assert model.cast(torch.bfloat16).images.dtype == torch.bfloat16


def test_sparse_task_vectors_unpack_to_the_same_function(make_model: MakeModel) -> None:
    packed = make_model(EWEMoE())
    unpacked = packed.unpacked()
    kinds = [{type(m) for m in s.classifier.modules()} for s in (packed, unpacked)]
    assert PrunedVectors in kinds[0]
    assert DenseVectors in kinds[1]
    assert PrunedVectors not in kinds[1]
    torch.testing.assert_close(unpacked.features, packed.features, rtol=0, atol=1e-5)
