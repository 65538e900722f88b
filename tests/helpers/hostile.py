"""How many hostile files a test reads, and what may come of each."""

import warnings
from collections.abc import Callable

from hypothesis import HealthCheck, settings

from wemoe_pl.errors import WeMoEError

Call = Callable[[], object]
share = settings(suppress_health_check=list(HealthCheck))


def many(times: float) -> settings:
    """So many times the cases of the profile: what is quick has more of them."""
    return settings(share, max_examples=int(settings().max_examples * times))


def one_sentence(call: Call) -> None:
    """Let a call succeed, or refuse with an error that the command line prints."""
    refusals: list[WeMoEError] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except WeMoEError as error:
        refusals.append(error)
    assert all(map(str, refusals))
