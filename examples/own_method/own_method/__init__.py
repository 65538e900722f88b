"""A merge method and an objective, for configs to name."""

from .margin import Margin
from .median import Median

__all__ = ["Margin", "Median"]
