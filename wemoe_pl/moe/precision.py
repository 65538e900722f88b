"""List the precisions in which weights are stored, by torch's names, without importing torch."""

from typing import Literal, get_args

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
