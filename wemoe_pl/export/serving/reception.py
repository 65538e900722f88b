"""Receive requests: check each, and decode its image, before it can come into a batch."""

import os
from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException, Query, Request

from wemoe_pl.data.preprocessing import Pixels
from wemoe_pl.data.tasks import read_image
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.export.serving.answers import Asked
from wemoe_pl.export.serving.description import ModelDescription
from wemoe_pl.export.serving.request import (
    BINARY_TYPES,
    FORM_TYPE,
    JSON_TYPE,
    NO_BODY,
    SERVED_FORMATS,
    AskedOptions,
    RequestLimits,
    read_json,
)

FORM_HINT = (
    " With curl, send a file by `--data-binary @photo.png`, which keeps its bytes as they are, and "
    f"JSON with `--header 'Content-Type: {JSON_TYPE}'`."
)
NOT_PROCESSABLE, TOO_LARGE, WRONG_TYPE, UNAVAILABLE = 422, 413, 415, 503


def decoders() -> CapacityLimiter:
    """Return how many images are decoded at once: as many as there are processors."""
    return CapacityLimiter(os.cpu_count() or 1)


@dataclass
class Reception:
    """A reception turns each request into an `Asked`, or refuses it with a sentence and a status.

    Args:
        model: the description of the model that will answer.
        limits: the limits of a request's size.

    Attributes:
        closed: the reason why no further request is taken; empty as long as they are.
    """

    model: ModelDescription
    limits: RequestLimits
    closed: str = ""
    _decoders: CapacityLimiter = field(default_factory=decoders)

    async def receive(self, http: Request, options: AskedOptions) -> Asked:
        """Read a request.

        Raises:
            HTTPException: something is wrong with it.
        """
        if self.closed:
            raise HTTPException(UNAVAILABLE, self.closed)
        try:
            check_given_once(http)
            kind = type_of_body(http)
            body = await self.body_of(http)
            if kind == JSON_TYPE:
                body, more = read_json(body)
                options = combined(options, more)
            self.model.check(options.task, options.reject, options.routing)
            pixels = await to_thread.run_sync(self.pixels_of, body, limiter=self._decoders)
        except (ConfigError, DataError) as error:
            hint = FORM_HINT if isinstance(error, DataError) and kind == FORM_TYPE else ""
            raise HTTPException(NOT_PROCESSABLE, f"{str(error).rstrip('.')}.{hint}") from None
        if self.closed:
            raise HTTPException(UNAVAILABLE, self.closed)
        reject = self.model.can_reject if options.reject is None else options.reject
        return Asked(pixels, options.task, options.top, reject, options.routing)

    async def body_of(self, http: Request) -> bytes:
        """Return the body of a request, of which no more is read than is allowed."""
        announced = http.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self.limits.most_bytes:
            raise HTTPException(TOO_LARGE, self.too_large)
        body = bytearray()
        async for chunk in http.stream():
            body += chunk
            if len(body) > self.limits.most_bytes:
                raise HTTPException(TOO_LARGE, self.too_large)
        if not body:
            raise ConfigError(NO_BODY)
        return bytes(body)

    @property
    def too_large(self) -> str:
        """Return the sentence about a body that is too large."""
        return (
            f"The request is larger than {self.limits.most_bytes} bytes: send a smaller image, or "
            "start the server with a larger --max-bytes."
        )

    def pixels_of(self, body: bytes) -> Pixels:
        """Decode an image, and return its pixels as the model takes them, (H, W, C)."""
        image = read_image(
            body, "The image", formats=SERVED_FORMATS, most_pixels=self.limits.most_pixels
        )
        return self.model.preprocess.pixels(image)


async def received(http: Request, options: Annotated[AskedOptions, Query()]) -> Asked:
    """Read the image and the options of a request, which FastAPI passes on to the model."""
    reception: Reception = http.app.state.reception
    return await reception.receive(http, options)


def type_of_body(http: Request) -> str:
    """Return the type of a request's body in small letters, without its parameters.

    Raises:
        HTTPException: it is neither JSON nor anything that may be an image.
    """
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON_TYPE or kind in BINARY_TYPES or kind.startswith("image/"):
        return kind
    raise HTTPException(
        WRONG_TYPE,
        f"A body of type '{kind}' is not read: send the bytes of an image, as image/png or "
        f'application/octet-stream, or {JSON_TYPE} such as {{"image": "…"}} with the image in '
        "base64.",
    )


def check_given_once(http: Request) -> None:
    """Raise `ConfigError` if an option is given twice in the query."""
    names = [name for name, _ in http.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"'{name}' is given twice: give it once.")


def combined(options: AskedOptions, more: dict[str, object]) -> AskedOptions:
    """Return the options of the query together with those of the JSON.

    Raises:
        ConfigError: both have the same option.
    """
    for name in options.model_fields_set & more.keys():
        raise ConfigError(f"'{name}' is given in the query and in the JSON: give it once.")
    return AskedOptions.model_validate(options.model_dump(exclude_unset=True) | more)
