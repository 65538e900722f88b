"""Read encoders of every published form, lazily and strictly, by the keys that timm uses."""

from wemoe_pl.checkpoints.backbone import Backbone as Backbone
from wemoe_pl.checkpoints.encoder import ENCODER_FILE as ENCODER_FILE
from wemoe_pl.checkpoints.encoder import encoder_state as encoder_state
from wemoe_pl.checkpoints.encoder import load_encoder as load_encoder
from wemoe_pl.checkpoints.encoder import text_state as text_state
from wemoe_pl.checkpoints.forms import HUGGING_FACE_CLIP as HUGGING_FACE_CLIP
from wemoe_pl.checkpoints.key_check import first_difference as first_difference
from wemoe_pl.checkpoints.key_check import without_head as without_head
from wemoe_pl.checkpoints.reading import Weights as Weights
from wemoe_pl.checkpoints.reading import open_file as open_file
from wemoe_pl.checkpoints.reading import open_weights as open_weights
from wemoe_pl.checkpoints.recognition import backbone_of as backbone_of
from wemoe_pl.checkpoints.sources import IN_MEMORY as IN_MEMORY
from wemoe_pl.checkpoints.sources import adapter_config as adapter_config
from wemoe_pl.checkpoints.sources import fingerprint as fingerprint
from wemoe_pl.checkpoints.sources import hub_request as hub_request
from wemoe_pl.checkpoints.sources import is_here as is_here
from wemoe_pl.checkpoints.sources import weight_files as weight_files
from wemoe_pl.checkpoints.state import Factors as Factors
from wemoe_pl.checkpoints.state import LazyState as LazyState
from wemoe_pl.checkpoints.state import State as State
from wemoe_pl.checkpoints.state import factors_of as factors_of
from wemoe_pl.checkpoints.state import shapes_of as shapes_of
from wemoe_pl.checkpoints.tower import HEAD as HEAD
from wemoe_pl.checkpoints.writing import save_tensors as save_tensors
