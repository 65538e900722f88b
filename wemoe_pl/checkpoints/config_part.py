"""Read a published config value by value, and check that each value has the right type."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from wemoe_pl.checkpoints.hyperparameters import size_name
from wemoe_pl.errors import CheckpointError


@dataclass(frozen=True)
class ConfigPart:
    """A `ConfigPart` is a config, or an object inside it, whose values are checked when read.

    Args:
        path: the file of the config.
        values: the values by name, of any type.
    """

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "ConfigPart":
        """Read a whole config; raise `CheckpointError` unless it is a JSON object."""
        try:
            values = json.loads(path.read_text("utf-8-sig"))  # some editors write a byte order mark
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is no JSON: copy or download it again.") from error
        return cls(path, {"config": values}).part("config")

    def part(self, name: str) -> "ConfigPart":
        """Return the part of this name, which is empty if it is not there."""
        return ConfigPart(self.path, self._value(name, {}, dict, "an object"))

    def count(self, name: str, default: int) -> int:
        """Return a whole number above 0, or the default if it is not there."""
        value: int = self._value(name, default, int, "a number above 0")
        return value if value > 0 else self._refuse(name, "a number above 0")

    def number(self, name: str, default: float) -> float:
        """Return a number, such as 12 or 1e-5, or the default if it is not there."""
        value: float = self._value(name, default, (int, float), "a number")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text, such as `quick_gelu`, or the default if it is not there."""
        value: str = self._value(name, default, str, "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, which is empty if it is not there."""
        values: list[Any] = self._value(name, [], list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            self._refuse(name, "a list of texts")
        return tuple(values)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of numbers, which is empty if it is not there."""
        values: list[Any] = self._value(name, [], list, "a list of numbers")
        if not all(isinstance(value, int | float) for value in values):
            self._refuse(name, "a list of numbers")
        return tuple(values)

    def flag(self, name: str) -> bool:
        """Return a truth value, which is false if it is not there."""
        return bool(self._value(name, False, bool, "true or false"))

    def size(self, name: str, default: int) -> str | int:
        """Return a size in pixels, which a config gives as one number or as two."""
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
