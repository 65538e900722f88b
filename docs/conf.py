"""Build the site: `make docs`. Nothing is fetched, and a warning is an error."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import wemoe_pl

sys.path.insert(0, str(Path(__file__).parent))
import notebooks
import reference

reference.write_pages()

project = "wemoe_pl"
version = release = wemoe_pl.__version__
copyright = "the wemoe_pl contributors"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
# The project itself is the source, so that links lead where they lead in the repository.
include_patterns = [
    "*.md", "docs/**", "docker/README.md", "examples/*.ipynb", "examples/**/README.md",
]  # fmt: skip
exclude_patterns = [".venv", "build", "runs", "tests", "wemoe_pl"]
root_doc = "docs/index"
nitpicky = True

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3  # as on a host of repositories
# Notebooks ship without outputs: the reader executes them, and all again if the code has changed.
nb_custom_formats = {
    ".ipynb": ["notebooks.executed", {"code": notebooks.code_fingerprint()}, False],
}
nb_execution_mode = "off"
nb_merge_streams = True  # outputs arrive in pieces, which differ between builds
nb_output_stderr = "remove"  # warnings of libraries, with paths of whoever builds the site

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
html_math_renderer = "mathml"

html_theme = "furo"
html_additional_pages = {"index": "to_the_start.html"}
templates_path = ["_templates"]
html_title = "wemoe_pl"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False


def inline(translator: Any, node: nodes.Element) -> None:
    """Write a formula in a line as MathML, which browsers draw without a script."""
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def displayed(translator: Any, node: nodes.Element) -> None:
    """Write a formula on lines of its own as MathML."""
    translator.body.append(mathml(node.astext(), "block"))
    raise nodes.SkipNode


def mathml(formula: str, display: str) -> str:
    """Return a formula as MathML, after a check that no command is left in it as text."""
    drawn: str = convert(formula, display=display)
    if left := re.search(r">(\\\w+)", drawn):
        raise ExtensionError(
            f"The formula '{formula}' has {left[1]}, which latex2mathml does not know: write it in "
            "another way, such as with \\operatorname."
        )
    return drawn


def as_restructured(
    app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]
) -> None:
    """Turn the marks of a docstring, which are those of Markdown, into those of Sphinx."""
    lines[:] = restructured(lines)


def restructured(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a docstring with code as code, links to public names, and literal bars.

    Examples stay as they are, up to the blank line behind their outputs.
    """
    in_example = False
    for line in lines:
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        yield line if in_example else CODE.sub(marked, line)


# A piece of code between backticks, or a character that means something else to Sphinx.
CODE = re.compile(r"`(?P<code>[^`]+)`|(?P<special>[|*\\])")


def marked(found: re.Match[str]) -> str:
    """Return a piece of code as Sphinx marks it: a link if it is the name of something public."""
    if found["special"]:
        return rf"\{found['special']}"
    public = found["code"] in wemoe_pl.__all__
    return f":py:obj:`~wemoe_pl.{found['code']}`" if public else f"``{found['code']}``"


def resolved(app: Sphinx, env: Any, node: Any, text: nodes.Element) -> nodes.Element | None:
    """Link the place of a public class to its public name; names of other packages stay text."""
    if node.get("refdomain") != "py":
        return None
    target = f"wemoe_pl.{node['reftarget'].rpartition('.')[2]}"
    domain = env.get_domain("py")
    if target not in domain.objects:
        return text
    link = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, text)
    return link if isinstance(link, nodes.Element) else text


def setup(app: Sphinx) -> None:
    """Add the renderer of formulae, and what makes docstrings and names ready for Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    app.connect("autodoc-process-docstring", as_restructured, priority=100)
    app.connect("missing-reference", resolved)
