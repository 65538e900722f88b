"""The batched merged-MLP operation: every sample runs through weights of its own.

Nothing outside this folder knows how it is computed: `layers.py` sees one function for the MLP, and
one for what its router does with every token.
"""

from wemoe_pl.moe.kernels.hidden_mean import hidden_mean
from wemoe_pl.moe.kernels.merged import merged_mlp
from wemoe_pl.moe.kernels.own_forward import NORMS, why_mapped
from wemoe_pl.moe.kernels.two_layers import store_fc2_by_columns

__all__ = ["NORMS", "hidden_mean", "merged_mlp", "store_fc2_by_columns", "why_mapped"]
