"""Options of the commands that read no job's config."""

from argparse import ArgumentParser
from typing import NoReturn

from wemoe_pl.errors import ConfigError


class OneSentence(ArgumentParser):
    """An argument parser whose errors are like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(f"{message}. See {self.prog} --help.")
