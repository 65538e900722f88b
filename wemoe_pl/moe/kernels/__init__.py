"""The batched operations with merged weights: every sample runs through weights of its own.

Nothing outside this folder knows how they are computed: there is one function for the MLP, one for
any other module, and one for what a router does with every token.
"""

from wemoe_pl.moe.kernels.hidden_mean import hidden_mean
from wemoe_pl.moe.kernels.merged import merged_mlp, merged_module
from wemoe_pl.moe.kernels.own_forward import NORMS, why_mapped
from wemoe_pl.moe.kernels.two_layers import store_fc2_by_columns

__all__ = [
    "NORMS",
    "hidden_mean",
    "merged_mlp",
    "merged_module",
    "store_fc2_by_columns",
    "why_mapped",
]
