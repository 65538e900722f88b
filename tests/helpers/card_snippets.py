"""The code of model cards, which tests run."""

import re
from pathlib import Path


def snippet_of(card: Path) -> str:
    """The program by which a card says that its model is loaded."""
    [code] = re.findall(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    return str(code)
