"""What a YAML parser sees, one event after another, before anything is made of it."""

from collections.abc import Iterator

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def events(text: str) -> Iterator[yaml.Event]:
    """The events of a text; `yaml.YAMLError` where it is no YAML."""
    parser = Loader(text)
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()
