"""The batched merged-MLP operation: every sample runs through weights of its own.

Nothing outside this folder knows how it is computed: `moe.py` sees one function.
"""

from wemoe_pl.kernels.merged import merged_mlp
from wemoe_pl.kernels.two_layers import read_hidden_lines

__all__ = ["merged_mlp", "read_hidden_lines"]
