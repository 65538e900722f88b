"""Define what a request may ask, in its query or as JSON, and say in a sentence what is wrong."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wemoe_pl.data.tasks.decoding import MOST_PIXELS
from wemoe_pl.errors import ConfigError, at_least, did_you_mean
from wemoe_pl.system.schema import UNKNOWN, in_words, parse_json

SERVED_FORMATS = ("JPEG", "PNG", "WEBP")
JSON_TYPE = "application/json"
# Types of a body that may be the bytes of an image: curl calls what it sends a form unless told.
FORM_TYPE = "application/x-www-form-urlencoded"
BINARY_TYPES = ("", "application/octet-stream", FORM_TYPE)
NO_URLS = (
    "The server fetches no URLs: send the bytes of the image as the body of the request, or in "
    "base64 as 'image'."
)
NO_BODY = (
    "The request has no image: send the bytes of a JPEG, PNG or WebP file as its body, such as by "
    "`curl --data-binary @photo.png`."
)


@dataclass(frozen=True)
class RequestLimits:
    """The limits bound the size of a request.

    Args:
        most_bytes: the largest body that is read; base64 takes a third more than the image.
        most_pixels: the largest number of pixels that is decoded.
    """

    most_bytes: int = 20_000_000
    most_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        """Refuse limits that allow nothing, or more than the decoder does."""
        at_least(1, "--max-bytes", self.most_bytes)
        at_least(1, "--max-pixels", self.most_pixels)
        if self.most_pixels > MOST_PIXELS:
            raise ConfigError(
                f"--max-pixels is {self.most_pixels}: give at most {MOST_PIXELS}, since larger "
                "images are never decoded."
            )


class AskedOptions(BaseModel):
    """The options of a request say how its image is to be classified."""

    model_config = ConfigDict(extra="forbid")

    task: str | None = Field(
        default=None, description="The task of the image; by default it is inferred."
    )
    top: int = Field(default=1, ge=1, description="How many classes the answer lists, best first.")
    reject: bool | None = Field(
        default=None,
        description="Whether an image that is unlike those of all tasks gets no task; by default "
        "if the model has thresholds for that.",
    )
    routing: bool = Field(default=False, description="Whether the answer has the routing weights.")


class JsonRequest(AskedOptions):
    """A request as JSON has the image in base64, and the same options."""

    image: str = Field(description="A JPEG, PNG or WebP file in base64; URLs are not fetched.")


def read_json(body: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the image and the options of a request as JSON.

    Raises:
        ConfigError: the body is no such request.
    """
    try:
        contents = parse_json(body.decode())
    except ValueError as error:
        raise ConfigError(f"The body of the request is not valid JSON: {error}.") from None
    if not isinstance(contents, dict):
        raise ConfigError('A request as JSON is an object such as {"image": "…", "top": 5}.')
    try:
        asked = JsonRequest.model_validate(contents, strict=True)
    except ValidationError as error:
        raise ConfigError(fault_in_options(error.errors(include_url=False), JsonRequest)) from None
    return decoded(asked.image), {k: v for k, v in contents.items() if k != "image"}


def decoded(image: str) -> bytes:
    """Return the bytes that a text in base64 stands for, or raise `ConfigError`."""
    if "://" in image[:16]:
        raise ConfigError(NO_URLS)
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(
            "'image' is not valid base64: encode the bytes of the file, without line breaks or a "
            "prefix such as `data:`."
        ) from None


def fault_in_options(
    faults: Sequence[Mapping[str, Any]], kind: type[BaseModel] = AskedOptions
) -> str:
    """Say in a sentence what is wrong with an option: an unknown one, or else the first at fault.

    Args:
        faults: pydantic's errors, of which there is at least one.
        kind: the class whose fields are the valid options.
    """
    fault = dict(next((f for f in faults if f["type"] in UNKNOWN), faults[0]))
    fault["loc"] = [part for part in fault["loc"] if part != "query"]
    name = str(fault["loc"][0]) if fault["loc"] else ""
    if fault["type"] not in UNKNOWN:
        return f"{in_words(fault)}."
    if "url" in name.lower():
        return NO_URLS
    return f"There is no option '{name}'. {did_you_mean(name, kind.model_fields)}"
