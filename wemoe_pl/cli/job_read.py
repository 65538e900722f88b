"""A job that is read and not run: its config is parsed as a run's is, and its parts are made."""

import logging

from lightning.pytorch.cli import ArgsType, LightningArgumentParser

from wemoe_pl.cli.job import WeMoECLI, only_tell
from wemoe_pl.cli.options import FRESH, QUIET


class ReadCLI(WeMoECLI):
    """A job that is only read, which takes the switches of the commands that run one."""

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and tell nothing of what a run would tell."""
        given = args if isinstance(args, list) else []
        switches = {FRESH: FRESH, **dict.fromkeys(QUIET, QUIET[-1])}  # keys with values, of a verb
        args = [f"{switches[arg]}=true" if arg in switches else arg for arg in given]
        super().parse_arguments(parser, args)
        only_tell(logging.WARNING)
