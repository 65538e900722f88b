"""A published config is read value by value, each of the type that it should have."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from wemoe_pl.checkpoints.hyperparameters import size_name
from wemoe_pl.errors import CheckpointError


@dataclass(frozen=True)
class ConfigPart:
    """A part of a config.

    Args:
        path: of the config.
        values: by name, of any type.
    """

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "ConfigPart":
        """The whole of a config; `CheckpointError` unless it is a JSON object."""
        try:
            values = json.loads(path.read_text("utf-8-sig"))  # some editors write a mark first
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is no JSON: copy or download it again.") from error
        return cls(path, {"config": values}).part("config")

    def part(self, name: str) -> "ConfigPart":
        """A part inside this one, which is empty if it is not there."""
        return ConfigPart(self.path, self._value(name, {}, dict, "an object"))

    def count(self, name: str, default: int) -> int:
        """A number of things, above 0."""
        value: int = self._value(name, default, int, "a number above 0")
        return value if value > 0 else self._refuse(name, "a number above 0")

    def number(self, name: str, default: float) -> float:
        """A number, such as 12 or 1e-5."""
        value: float = self._value(name, default, (int, float), "a number")
        return value

    def text(self, name: str, default: str) -> str:
        """A text, such as `quick_gelu`."""
        value: str = self._value(name, default, str, "a text")
        return value

    def flag(self, name: str) -> bool:
        """True or false; false if it is not there."""
        return bool(self._value(name, False, bool, "true or false"))

    def size(self, name: str, default: int) -> str | int:
        """A size in pixels: a number, or two of them."""
        value = self.values.get(name)
        if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
            return size_name(*value)
        return self.count(name, default)

    def _value(self, name: str, default: Any, kind: Any, expected: str) -> Any:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._refuse(name, expected)
        return value

    def _refuse(self, name: str, expected: str) -> NoReturn:
        raise CheckpointError(
            f"{self.path} is damaged: its '{name}' is {str(self.values[name])[:40]!r} instead of "
            f"{expected}. Copy or download it again."
        )
