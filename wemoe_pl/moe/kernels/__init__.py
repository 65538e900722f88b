"""Compute with merged weights in batches: every sample runs through weights of its own.

Code outside this folder does not depend on how that is done: there is one function for the MLP, one
for any other module, and one for the work of a router on every token.
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
