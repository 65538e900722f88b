"""Write the names of classes to files as `wemoe_pl.WEMoE`, wherever in the package they are.

A module of this package may move, and files that were written before must still be read: a public
class has one name, and every dotted path below `wemoe_pl` where it is or was means the same.
"""

import re
from collections.abc import Mapping
from typing import Any

from wemoe_pl import __all__ as public

PLACE = re.compile(r"(wemoe_pl)\.(?:\w+\.)*(\w+)")


def public_name(kind: type) -> str:
    """Return the name under which a class is written: its public name, or else its dotted path.

    >>> from wemoe_pl import WEMoE
    >>> public_name(WEMoE), public_name(dict)
    ('wemoe_pl.WEMoE', 'builtins.dict')
    """
    return short(f"{kind.__module__}.{kind.__qualname__}")


def with_public_names(value: Any) -> Any:
    """Return plain values in which public names replace the dotted paths of public classes.

    >>> with_public_names({"merge": {"class_path": "wemoe_pl.merging.wemoe.WEMoE"}})
    {'merge': {'class_path': 'wemoe_pl.WEMoE'}}
    """
    if isinstance(value, Mapping):
        return {key: with_public_names(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_public_names(item) for item in value]
    return short(value) if isinstance(value, str) else value


def short(text: str) -> str:
    """Return the public name for the dotted path of a public class, and any other text as it is.

    >>> short("wemoe_pl.tasks.folders.ImageFolderTask"), short("my_package.tasks.ImageFolderTask")
    ('wemoe_pl.ImageFolderTask', 'my_package.tasks.ImageFolderTask')
    """
    found = PLACE.fullmatch(text)
    return ".".join(found.groups()) if found and found[2] in public else text
