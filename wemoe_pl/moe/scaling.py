"""Check the scaling coefficient λ: task arithmetic multiplies by it, and routers start at it.

Its key is `scaling` if the method is final, and `init_lambda` if adaptation starts from it.
"""

from wemoe_pl.errors import MergeError

DEFAULT_SCALING = 0.3  # as in the paper


def check_scaling(scaling: float) -> None:
    """Raise `MergeError` unless 0 ≤ λ ≤ 1, the range in which task vectors are interpolated."""
    if not 0.0 <= scaling <= 1.0:
        raise MergeError(
            f"The scaling coefficient (init_lambda, scaling) is {scaling}: "
            f"choose a number from 0 to 1; the paper uses {DEFAULT_SCALING}."
        )
