"""Load encoders by timm's keys, strictly: no key may be missing, and none may be left over."""

from torch import Tensor, nn

from wemoe_pl.checkpoints.backbone import Backbone
from wemoe_pl.checkpoints.config_check import OF_BACKBONES, OF_TEXT_TOWERS, check_config
from wemoe_pl.checkpoints.forms import TEXT_FORMS
from wemoe_pl.checkpoints.hyperparameters import PROJECTION_WIDTH, Hyperparameters
from wemoe_pl.checkpoints.key_check import Shapes, check_encoder_keys, check_text_keys
from wemoe_pl.checkpoints.lora import Adapter, read_lora
from wemoe_pl.checkpoints.lora_base import BASE_DIGEST, check_base
from wemoe_pl.checkpoints.lora_config import LoRAConfig
from wemoe_pl.checkpoints.reading import Weights, open_weights
from wemoe_pl.checkpoints.sources import adapter_config, config_files, is_here, weight_files
from wemoe_pl.checkpoints.state import LazyState
from wemoe_pl.checkpoints.tower import HEAD, find_tower, has_head
from wemoe_pl.errors import CheckpointError

ENCODER_FILE = "encoder.safetensors"


def load_encoder(
    source: str,
    backbone: Backbone | str,
    projection: str | None = None,
    base: str | None = None,
) -> nn.Module:
    """Read an encoder in float32, in evaluation mode.

    Args:
        source: a file of weights, a folder that holds them, a hub id `owner/name[@revision]`, or
            `shipped:…` for the miniature's weights. The keys tell the form: timm's, that of
            Hugging Face's CLIP models or open_clip's, of a full model or its vision tower alone,
            behind any prefix. Known other parts are left out: a text tower, the head of a
            classifier if the backbone has none, the mask token of DINOv2. It may also be a LoRA
            adapter of PEFT, which is added to `base`.
        backbone: the architecture, or the name of a timm model.
        projection: the source of the pretrained model, from which CLIP's projection is taken if
            `source` has none because it is a vision tower alone.
        base: the source of the model that an adapter was trained from.

    Raises:
        CheckpointError: the weights are missing, truncated, empty, a pickle of more than tensors,
            NaN or infinite, or of another architecture; the message names the file and the first
            such key. Or the config next to the weights tells another activation, pooling or size
            than the backbone has. Or the adapter is of another base, or of another kind than LoRA.
        HubError: the hub has no such repository, or cannot be reached.
    """
    backbone = Backbone(backbone) if isinstance(backbone, str) else backbone
    state = encoder_state(source, backbone, projection, base)
    encoder = backbone.build()
    encoder.load_state_dict(dict(state))
    return encoder


def encoder_state(
    source: str, backbone: Backbone, projection: str | None = None, base: str | None = None
) -> LazyState:
    """Return an encoder's weights by timm's keys, read when they are used; see `load_encoder`."""
    weights = open_weights(source, ENCODER_FILE)
    if config := adapter_config(weight_files(source, ENCODER_FILE)):
        return adapted_state(weights, LoRAConfig.read(config), backbone, base)
    tower = find_tower(weights)
    reference = backbone.shapes
    state = tower.converted(reference)
    if has_head(reference) and not tower.projects:
        if projection is None:
            raise CheckpointError(
                f"{tower.weights.name} has no projection ('{tower.projection}'): take it from the "
                "pretrained model (`projection`), or build the backbone with `num_classes: 0`."
            )
        state = with_projection(state, encoder_state(projection, backbone))
    check_encoder_keys(tower.weights.name, state.shapes, backbone, tower.unprefixed_keys)
    if configs := config_files(source, ENCODER_FILE):
        compared = backbone.hyperparameters.keys() - (() if tower.projects else {PROJECTION_WIDTH})
        own = {name: backbone.hyperparameters[name] for name in compared}
        check_config(configs, tower.form, own, f"the backbone '{backbone.model}'", OF_BACKBONES)
    return state


def adapted_state(
    weights: Weights, config: LoRAConfig, backbone: Backbone, base: str | None
) -> LazyState:
    """Return the weights of a base with an adapter added, which know the adapter's factors."""
    if base is None:
        named = f" of {config.base}" if config.base else ""
        raise CheckpointError(
            f"{weights.name} is an adapter{named} and no model: use it as an expert, or give the "
            "model that it was trained from as `base`."
        )
    check_base(config, base, ENCODER_FILE, weights.metadata.get(BASE_DIGEST))
    adapter = read_lora(weights, config, backbone.shapes)
    return adapter.added_to(encoder_state(base, backbone))


def adapter_in(source: str, backbone: Backbone) -> Adapter | None:
    """Return the adapter that a source is, without its base; None for a whole encoder.

    A source on the hub that is not in the cache counts as a whole encoder.
    """
    if not is_here(source, ENCODER_FILE):
        return None
    config = adapter_config(weight_files(source, ENCODER_FILE))
    if config is None:
        return None
    weights = open_weights(source, ENCODER_FILE)
    return read_lora(weights, LoRAConfig.read(config), backbone.shapes)


def text_state(source: str, reference: Shapes, own: Hyperparameters) -> LazyState:
    """Return the weights of CLIP's text tower by open_clip's keys; each is read when it is used.

    Args:
        source: a full model, named in the same way as for `load_encoder`.
        reference: the shapes of the text tower's weights and of `logit_scale`, by key.
        own: the hyperparameters of the text tower.

    Raises:
        CheckpointError: there is no text tower, or one of another architecture.
    """
    tower = find_tower(open_weights(source, ENCODER_FILE), TEXT_FORMS)
    state = tower.converted(reference)
    check_text_keys(tower.weights.name, state.shapes, reference)
    configs = config_files(source, ENCODER_FILE)
    check_config(configs, tower.form, own, "the suite's `text_tower`", OF_TEXT_TOWERS)
    return state


def with_projection(state: LazyState, pretrained: LazyState) -> LazyState:
    """Add the pretrained model's projection, which fine-tuning leaves alone, to a vision tower."""
    shared = {key: shape for key, shape in pretrained.shapes.items() if key.startswith(HEAD)}

    def read(key: str) -> Tensor:
        return pretrained[key] if key in shared else state[key]

    return LazyState({**state.shapes, **shared}, read)
