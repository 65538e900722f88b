"""Build zero-shot heads from class names with CLIP's text tower, once, and cache them."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import ENCODER_FILE, fingerprint, shapes_of, text_state
from wemoe_pl.checkpoints.heads import ClassificationHead, CosineHead, load_head, save_head
from wemoe_pl.checkpoints.hyperparameters import text_hyperparameters
from wemoe_pl.errors import ConfigError, check_class_names, did_you_mean
from wemoe_pl.system.console import progress
from wemoe_pl.system.files import cache_folder

if TYPE_CHECKING:
    from open_clip.transformer import TextTransformer  # its import takes seconds

PROMPTS_PER_BATCH = 256
LOGIT_SCALE = "logit_scale"


@dataclass(frozen=True)
class TextTower:
    """A text tower is the part of a CLIP model that makes zero-shot heads from texts.

    Args:
        model: open_clip's name of the architecture, such as `ViT-B-32-quickgelu`.
        source: the source of full CLIP weights, in any form that encoders have; by default the
            suite's pretrained ones.
        options: values that replace open_clip's: `embed_dim`, `width`, `heads`, `layers`, …
    """

    model: str
    source: str | None = None
    options: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """Return open_clip's config of the model; raise `ConfigError` if it has none."""
        import open_clip

        if self.model not in open_clip.list_models():  # it might read a file or ask the hub
            raise ConfigError(
                f"open_clip has no model '{self.model}'. "
                f"{did_you_mean(self.model, open_clip.list_models())}"
            )
        return open_clip.get_model_config(self.model)

    @property
    def is_quick(self) -> bool:
        """Return whether the tower has OpenAI's approximation of the GELU."""
        return bool(self.config.get("quick_gelu"))

    def build(self) -> "TextTransformer":
        """Return the tower with random weights.

        Raises:
            ConfigError: open_clip does not know the model, or its text tower is not CLIP's.
        """
        from open_clip.transformer import QuickGELU, TextTransformer

        config = self.config
        text = {"output_dim": config["embed_dim"], **config["text_cfg"]}
        options = {"output_dim" if k == "embed_dim" else k: v for k, v in self.options.items()}
        activation = QuickGELU if self.is_quick else nn.GELU
        try:
            return TextTransformer(**{**text, **options}, act_layer=activation)
        except Exception as error:  # each layer raises its own kind of error
            raise ConfigError(
                f"The text tower of '{self.model}' cannot be built with options {self.options}: "
                f"{error}. If it is not CLIP's own, give heads as files under `suite.heads`."
            ) from error

    def check(self, source: str) -> None:
        """Raise `CheckpointError` unless a file has weights of this tower; no weight is read."""
        with torch.device("meta"):
            tower = self.build()
        text_state(source, needed(tower), text_hyperparameters(tower))

    def load(self, source: str) -> "TextEncoder":
        """Return the tower with the weights of a full CLIP model in one of the known forms."""
        tower = self.build().float()  # even if the trainer has set another precision
        state = dict(text_state(source, needed(tower), text_hyperparameters(tower)))
        logit_scale = state.pop(LOGIT_SCALE)
        tower.load_state_dict(state)
        return TextEncoder(tower.eval().requires_grad_(False), logit_scale.exp().item())


def needed(tower: "TextTransformer") -> dict[str, torch.Size]:
    """Return the shapes of the tensors of a full CLIP model that a tower needs, by key."""
    return {**shapes_of(tower.state_dict()), LOGIT_SCALE: torch.Size([])}


class TextEncoder(nn.Module):
    """A text encoder is a text tower with its tokenizer, as open_clip's head builder takes it.

    Args:
        tower: the text tower, which maps tokens (B, L) to embeddings (B, D).
        logit_scale: the factor of the cosines: the exponential of the number in CLIP's file.
    """

    def __init__(self, tower: "TextTransformer", logit_scale: float):
        from open_clip.tokenizer import SimpleTokenizer

        super().__init__()
        self.tower = tower
        self.logit_scale = logit_scale
        self.tokenizer = SimpleTokenizer(context_length=tower.context_length)

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Return the embeddings (B, D) of tokens (B, L)."""
        embeddings = self.tower(tokens)
        return F.normalize(embeddings, dim=-1) if normalize else embeddings


@dataclass(frozen=True)
class ZeroShotHead:
    """A `ZeroShotHead` is the recipe of a zero-shot head; equal recipes give equal heads.

    Args:
        tower: the text tower.
        source: the source of the tower's weights.
        classes: class names in label order.
        templates: prompts with `{}` in the place of the class name.
    """

    tower: TextTower
    source: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse prompts that would be the same for all classes."""
        if not self.classes or not self.templates:
            raise ConfigError("A zero-shot head needs class names and at least one template.")
        check_class_names(self.classes, "A zero-shot head", ConfigError)
        for template in self.templates:
            if "{}" not in template:
                raise ConfigError(
                    f"The template '{template}' has no '{{}}' in the place of the class name."
                )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return all that determines the head; weights are named by their hash, not their path."""
        return {
            "model": self.tower.model,
            "options": self.tower.options,
            "weights": fingerprint(self.source, ENCODER_FILE),
            "classes": list(self.classes),
            "templates": list(self.templates),
        }

    @property
    def described(self) -> str:
        """Return the identity as JSON, from which the digest is computed."""
        return json.dumps(self.identity, sort_keys=True)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the identity."""
        return hashlib.sha256(self.described.encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Return the path of the head in the cache."""
        return cache_folder("heads") / f"{self.digest}.safetensors"

    def load(self, name: str) -> ClassificationHead:
        """Return the head from the cache; build it first if it is not there.

        Args:
            name: the name of the task, for the progress bar.
        """
        with FileLock(self.path.with_suffix(".lock")):  # only one of several processes builds it
            if self.path.is_file():
                self.tower.check(self.source)  # earlier versions cached heads of unfit weights
            else:
                save_head(self.path, self.build(name), {"identity": self.described})
        return load_head(str(self.path))

    def build(self, name: str) -> CosineHead:
        """Build the head: fill the templates, embed, normalise, average per class, normalise."""
        from open_clip import build_zero_shot_classifier

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        encoder = self.tower.load(self.source).to(device)
        templates = [partial(fill, template) for template in self.templates]
        step = max(1, PROMPTS_PER_BATCH // len(templates))
        starts = range(0, len(self.classes), step)
        batches = [
            build_zero_shot_classifier(
                encoder,
                encoder.tokenizer,
                self.classes[start : start + step],
                templates,
                num_classes_per_batch=None,
                device=device,
            )
            for start in progress(starts, f"Zero-shot head of {name}")
        ]
        weight = torch.cat(batches, dim=1).T.cpu().contiguous()
        return CosineHead(weight, self.classes, encoder.logit_scale)


def fill(template: str, class_name: str) -> str:
    """Return a prompt for a class, with blanks for the underscores in its name.

    >>> fill("a photo of a {}.", "fire_truck")
    'a photo of a fire truck.'
    """
    return template.replace("{}", class_name.replace("_", " "))
