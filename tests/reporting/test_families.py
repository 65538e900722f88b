"""The family of a run's experts is known by where they are from, and only there."""

from pathlib import Path

import pytest

from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.families import FAMILIES, common_family, family_of


def sources(*experts: str) -> dict[str, dict[str, str]]:
    parts = {"pretrained": "openai/clip-vit-large-patch14"}
    parts |= {f"experts/{i}": source for i, source in enumerate(experts)}
    return {part: {"source": source, "sha256": ""} for part, source in parts.items()}


HUB = "tanganke/clip-vit-large-patch14_kmnist@abc"


@pytest.mark.parametrize(
    ("experts", "family"),
    [
        ([HUB], "C"),
        ([HUB, "tanganke/clip-vit-large-patch14_sun397"], "C"),
        ([HUB, "experts/own.safetensors"], None),
        (["models/tanganke/clip-vit-large-patch14_kmnist"], None),
        (["somebody/clip-vit-large-patch14_kmnist"], None),
        (["tanganke/clip-vit-large-patch14"], None),
        ([], None),
    ],
)
def test_experts_of_the_hub_are_known_by_their_names(
    experts: list[str], family: str | None
) -> None:
    assert family_of(sources(*experts)) == family


def test_what_the_user_states_is_taken_where_nothing_else_is_known() -> None:
    hub, own = {Path("hub"): sources(HUB)}, {Path("own"): sources("own.safetensors")}
    assert common_family(hub, None) == common_family(hub | own, "C") == "C"
    assert common_family(own, "B leaky") == "B leaky"


def test_a_refusal_names_the_families_and_the_option() -> None:
    with pytest.raises(ConfigError) as raised:
        common_family({Path("own"): sources("own.safetensors")}, None)
    assert "--family" in str(raised.value)
    assert all(repr(family) in str(raised.value) for family in FAMILIES)
