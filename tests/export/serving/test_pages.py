"""The OpenAPI page describes the body, the options, the answer and the errors of a request."""

from multiprocessing import Pipe
from typing import Any

import pytest
from litserve import LitServer

from wemoe_pl.export.serving.api import ServingAPI
from wemoe_pl.export.serving.pages import describe_pages


@pytest.fixture(scope="module")
def operation() -> dict[str, Any]:
    api = ServingAPI("nowhere", (), Pipe(duplex=False)[1], batch_size=2, batch_wait=0)
    server = LitServer(api, accelerator="cpu")
    describe_pages(server.app)
    described: dict[str, Any] = server.app.openapi()["paths"]["/predict"]["post"]
    return described


def test_the_body_is_an_image_or_json(operation: dict[str, Any]) -> None:
    content = operation["requestBody"]["content"]
    assert content["image/png"] == content["image/jpeg"] == content["image/webp"]
    assert content["image/png"]["schema"] == {"type": "string", "format": "binary"}
    assert {"image", "task", "top"} <= content["application/json"]["schema"]["properties"].keys()


def test_the_options_are_parameters_of_the_query(operation: dict[str, Any]) -> None:
    found = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert found.keys() == {"task", "top", "reject", "routing"}
    assert all(p["in"] == "query" and not p["required"] for p in found.values())
    assert all(p["description"].endswith(".") for p in found.values())
    assert found["top"]["schema"]["minimum"] == 1


def test_the_answer_and_the_errors_are_described(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    assert responses.keys() == {"200", "413", "415", "422", "503", "504"}
    assert responses["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/ServedAnswer"
    )
    wrong = responses["422"]["content"]["application/json"]["schema"]
    assert wrong["properties"]["detail"]["type"] == "string"
