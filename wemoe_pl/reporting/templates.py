"""Read jinja templates in which an undefined name is an error."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def template_in(folder: Path, name: str, **options: Any) -> Template:
    """Read a template; its control lines leave no blank lines in the output.

    Args:
        folder: the folder of the template and of the files that it includes.
        name: the name of the template's file.
        options: further arguments of jinja's `Environment`.
    """
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    return environment.get_template(name)
