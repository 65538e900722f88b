"""Ask a server of `wemoe-pl serve` what an image shows, with nothing but Python's own library.

python examples/ask_server.py http://127.0.0.1:8000 photo.png task=mnist top=5
"""

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def ask(server: str, image: Path, **options: str) -> dict[str, object]:
    """The answer of a server, or the sentence that says what is wrong."""
    address = f"{server.rstrip('/')}/predict?{urlencode(options)}"
    request = Request(address, image.read_bytes(), {"Content-Type": "application/octet-stream"})
    try:
        with urlopen(request, timeout=60) as response:
            answer: dict[str, object] = json.load(response)
    except HTTPError as error:
        sys.exit(f"{error.code}: {json.load(error)['detail']}")
    except OSError as error:
        sys.exit(f"{server} does not answer: {error}.")
    return answer


if __name__ == "__main__":
    if len(sys.argv) < 3 or not all("=" in option for option in sys.argv[3:]):
        sys.exit("Give the address of a server, an image, and options such as task=mnist.")
    place, photo, *given = sys.argv[1:]
    print(ask(place, Path(photo), **dict(option.split("=", 1) for option in given)))
