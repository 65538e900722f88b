"""Describe the server to whoever reads its OpenAPI page, and put its errors into sentences."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from wemoe_pl import __version__
from wemoe_pl.export.serving.reception import NOT_PROCESSABLE, TOO_LARGE, UNAVAILABLE, WRONG_TYPE
from wemoe_pl.export.serving.request import JSON_TYPE, JsonRequest, fault_in_options

PREDICT, HEALTH = "/predict", "/health"
TIMED_OUT = 504
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
ABOUT = (
    "Classifies images by a merged model of several tasks. Send the bytes of an image as the body "
    "of a POST to /predict, and options in the query; or JSON with the image in base64."
)
# The statuses of errors, each with what it means. All have one sentence, as `detail`.
FAULTS = {
    TOO_LARGE: "The body is too large.",
    WRONG_TYPE: "The body is neither an image nor JSON.",
    NOT_PROCESSABLE: "The image cannot be read, or an option is wrong.",
    UNAVAILABLE: "The server is ending, or has too many connections.",
    TIMED_OUT: "The request has waited too long.",
}


def describe_pages(app: FastAPI) -> None:
    """Describe the body, the answers and the errors of the requests that an app takes.

    Its health may also be asked by HEAD, as some monitors do.
    """
    app.title, app.version, app.description = "wemoe-pl serve", __version__, ABOUT
    app.add_exception_handler(RequestValidationError, in_a_sentence)
    routes = {route.path: route for route in app.routes if isinstance(route, APIRoute)}
    app.add_api_route(HEALTH, routes[HEALTH].endpoint, methods=["HEAD"], include_in_schema=False)
    route = routes[PREDICT]
    route.summary = "Classify an image"
    route.openapi_extra = {"requestBody": {"required": True, "content": bodies()}}
    route.responses = {status: fault_described(about) for status, about in FAULTS.items()}


def bodies() -> dict[str, Any]:
    """Return the description of each type of body that a request may have."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    schema = JsonRequest.model_json_schema()
    return dict.fromkeys(IMAGE_TYPES, binary) | {JSON_TYPE: {"schema": schema}}


def fault_described(about: str) -> dict[str, Any]:
    """Return the description of an answer that says what is wrong."""
    detail = {"type": "string", "description": "A sentence that says what is wrong."}
    schema = {"type": "object", "properties": {"detail": detail}}
    return {"description": about, "content": {JSON_TYPE: {"schema": schema}}}


async def in_a_sentence(http: Request, error: Exception) -> JSONResponse:
    """Answer a request whose options are wrong with one sentence."""
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": fault_in_options(error.errors())}, NOT_PROCESSABLE)
