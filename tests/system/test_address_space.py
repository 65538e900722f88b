"""What torch cannot be loaded into is refused before it is tried."""

import resource

import pytest

from wemoe_pl.errors import WeMoEError
from wemoe_pl.system import address_space
from wemoe_pl.system.address_space import check_address_space, size_of_libraries


def limit_to(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, resource.RLIM_INFINITY))


def test_the_libraries_of_torch_are_large() -> None:
    assert size_of_libraries() > 50_000_000


@pytest.mark.parametrize("more", [0, 1, None])
def test_what_may_be_enough_is_tried(more: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, resource.RLIM_INFINITY if more is None else size_of_libraries() + more)
    check_address_space()


def test_what_cannot_be_enough_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_space, "size_of_libraries", lambda: 3_000_000_000)
    limit_to(monkeypatch, 2_000_000_000)
    said = r"^This process may have 2\.0 GB of address space \(`ulimit -v`\), and .* have 3\.0 GB"
    with pytest.raises(WeMoEError, match=said):
        check_address_space()
