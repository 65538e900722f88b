"""A request is checked and its image decoded before it comes into a batch, or refused."""

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi import HTTPException, Request
from helpers.servers import Case
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wemoe_pl.export.serving.answers import Asked
from wemoe_pl.export.serving.description import described_model
from wemoe_pl.export.serving.reception import Reception
from wemoe_pl.export.serving.request import AskedOptions, RequestLimits
from wemoe_pl.model.classifier import MultiTaskClassifier

Receive = Callable[..., Asked]
LIMITS = RequestLimits(most_bytes=50_000, most_pixels=4_000)


def request(chunks: list[bytes], kind: str, query: str, announced: int | None) -> Request:
    """A request whose body comes in some pieces."""
    messages = [
        {"type": "http.request", "body": chunk, "more_body": place < len(chunks) - 1}
        for place, chunk in enumerate(chunks)
    ]
    headers = [(b"content-type", kind.encode())]
    if announced is not None:
        headers.append((b"content-length", str(announced).encode()))

    async def receive() -> Any:
        return messages.pop(0)

    scope = {
        "type": "http", "method": "POST", "headers": headers, "query_string": query.encode(),
    }  # fmt: skip
    return Request(scope, receive)


@pytest.fixture(scope="module")
def reception(model: MultiTaskClassifier) -> Reception:
    return Reception(described_model(model), LIMITS)


@pytest.fixture(scope="module")
def receive(reception: Reception) -> Receive:
    """`receive(body, kind, top=2)`: what becomes of a request."""

    def once(
        *chunks: bytes, kind: str = "image/png", query: str = "", announced: int | None = None,
        **options: Any,
    ) -> Asked:  # fmt: skip
        http = request([*chunks] or [b""], kind, query, announced)
        return asyncio.run(reception.receive(http, AskedOptions(**options)))

    return once


def refusal(receive: Receive, *chunks: bytes, **more: Any) -> tuple[int, str]:
    with pytest.raises(HTTPException) as refused:
        receive(*chunks, **more)
    return refused.value.status_code, refused.value.detail


def saved(form: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    file = BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(file, form, **options)
    return file.getvalue()


PNG, JPEG, WEBP = (saved(form) for form in ("PNG", "JPEG", "WEBP"))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
def test_the_pixels_are_those_that_the_model_prepares(
    form: str, kind: str, receive: Receive, model: MultiTaskClassifier
) -> None:
    body = saved(form)
    asked = receive(body[:100], body[100:], kind=kind, task="mnist", top=3, routing=True)
    expected = model.preprocess.pixels(Image.open(BytesIO(body)))
    np.testing.assert_array_equal(asked.pixels, expected)
    assert asked[1:] == ("mnist", 3, True, True)


def test_json_is_read_with_its_options_and_those_of_the_query(receive: Receive) -> None:
    body = json.dumps({"image": base64.b64encode(PNG).decode(), "top": 2}).encode()
    asked = receive(body, kind="application/json; charset=utf-8", task="dtd")
    assert asked[1:] == ("dtd", 2, True, False)
    np.testing.assert_array_equal(asked.pixels, receive(PNG).pixels)
    assert refusal(receive, body, kind="application/json", top=2) == (
        422, "'top' is given in the query and in the JSON: give it once.",
    )  # fmt: skip


def test_nothing_is_rejected_if_that_is_asked_for(receive: Receive) -> None:
    assert receive(PNG).reject
    assert not receive(PNG, reject=False).reject


def huge_png(width: int, height: int) -> bytes:
    """A small file whose header promises many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:Image size .* exceeds limit")
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The request has no image: send the bytes of a JPEG, PNG or WebP file"),
        (b"hello", "it is none of JPEG, PNG, WEBP, or is a variant"),
        (PNG[: len(PNG) // 2], "The image is not a readable image: "),
        (saved("GIF"), "it is none of JPEG, PNG, WEBP, or is a variant"),
        (saved("PNG", (80, 60)), "it has 80 × 60 pixels, and images of more than 4000 are not d"),
        (huge_png(10**4, 10**4), "it has 10000 × 10000 pixels, and images of more than 4000 are"),
        (huge_png(10**6, 10**6), "The image is not a readable image: "),
        (huge_png(2**31 - 1, 1), "The image is not a readable image: "),
        (huge_png(0, 0), "The image is not a readable image"),
        (saved("PNG", (3000, 1)), "no side may be more than 250 times as long as the other"),
    ],
)
def test_what_is_no_image_is_refused(body: bytes, sentence: str, receive: Receive) -> None:
    status, said = refusal(receive, body)
    assert status == 422
    assert sentence in said
    assert said.endswith(".")


def test_what_curl_sends_as_a_form_is_answered_with_a_hint(receive: Receive) -> None:
    form = "application/x-www-form-urlencoded"
    _, said = refusal(receive, PNG.replace(b"\n", b""), kind=form)  # as `curl -d @photo.png` does
    assert "With curl, send a file by `--data-binary @photo.png`" in said
    assert "--data-binary" not in refusal(receive, b"hello")[1]


def test_json_has_numbers_and_truth_values_and_not_their_like(receive: Receive) -> None:
    for wrong in ({"top": True}, {"top": "3"}, {"reject": "no"}):
        body = json.dumps({"image": base64.b64encode(PNG).decode(), **wrong}).encode()
        status, said = refusal(receive, body, kind="application/json")
        assert status == 422
        assert "should be a valid" in said


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"task": "minst"}, "There is no task 'minst'. Did you mean 'mnist'?"),
        ({"query": "top=1&top=2"}, "'top' is given twice: give it once."),
    ],
)
def test_options_that_the_model_cannot_fulfil_are_refused(
    more: dict[str, Any], sentence: str, receive: Receive
) -> None:
    status, said = refusal(receive, PNG, **more)
    assert status == 422
    assert sentence in said


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/html", "video/mp4"])
def test_other_types_of_bodies_are_refused_by_name(kind: str, receive: Receive) -> None:
    status, said = refusal(receive, PNG, kind=kind)
    assert status == 415
    assert said.startswith(f"A body of type '{kind.partition(';')[0]}' is not read: send")


def test_a_body_that_is_too_large_is_not_read_to_its_end(receive: Receive) -> None:
    sentence = "The request is larger than 50000 bytes: send a smaller image, or start the server"
    for chunks, announced in (([PNG], 50_001), ([bytes(40_000)] * 5, None)):
        status, said = refusal(receive, *chunks, announced=announced)
        assert status == 413
        assert said.startswith(sentence)


def test_a_reception_that_is_closed_says_why(model: MultiTaskClassifier) -> None:
    closed = Reception(described_model(model), LIMITS, closed="It is over.")
    http = request([PNG], "image/png", "", None)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(closed.receive(http, AskedOptions()))
    assert (refused.value.status_code, refused.value.detail) == (503, "It is over.")


@settings(deadline=None)
@given(data=st.data())
def test_any_damage_is_survived(data: st.DataObject, receive: Receive, cases: list[Case]) -> None:
    body = bytearray(data.draw(st.sampled_from([PNG, JPEG, WEBP])))
    for _ in range(data.draw(st.integers(1, 20))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(body[: data.draw(st.integers(1, len(body)))])
    try:
        assert receive(kept).pixels.shape[2] == 3
    except HTTPException as refused:
        assert refused.status_code == 422  # noqa: PT017 (most damage is seen, but not all)
