"""Templates of jinja's, in which a name that nobody gives is an error."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def template_in(folder: Path, name: str, **options: Any) -> Template:
    """Read a template, whose lines of control leave no blank lines.

    Args:
        folder: the folder that it, and what it includes, lie in.
        name: the name of its file.
        options: what else jinja's `Environment` is given.
    """
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    return environment.get_template(name)
