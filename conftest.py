"""Names that the doctests of the package use without importing them."""

import pytest
import torch


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["torch"] = torch
