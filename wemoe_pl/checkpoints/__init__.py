"""Read encoders of any published form, lazily and strictly, into one timm key space."""

from wemoe_pl.checkpoints.backbone import Backbone
from wemoe_pl.checkpoints.encoder import (
    ENCODER_FILE,
    HEAD,
    encoder_state,
    first_difference,
    load_encoder,
    text_state,
)
from wemoe_pl.checkpoints.forms import HUGGING_FACE_CLIP
from wemoe_pl.checkpoints.reading import Weights, open_file, open_weights
from wemoe_pl.checkpoints.sources import fingerprint, hub_request, weight_files
from wemoe_pl.checkpoints.state import LazyState, State, shapes_of
from wemoe_pl.checkpoints.writing import save_tensors

__all__ = [
    "ENCODER_FILE",
    "HEAD",
    "HUGGING_FACE_CLIP",
    "Backbone",
    "LazyState",
    "State",
    "Weights",
    "encoder_state",
    "fingerprint",
    "first_difference",
    "hub_request",
    "load_encoder",
    "open_file",
    "open_weights",
    "save_tensors",
    "shapes_of",
    "text_state",
    "weight_files",
]
