"""A merge method and an objective, for configs to name."""

from own_method.margin import Margin
from own_method.median import Median

__all__ = ["Margin", "Median"]
