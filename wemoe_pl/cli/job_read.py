"""Read a job without running it: parse its config like that of a run, and build its parts."""

import logging

from lightning.pytorch.cli import ArgsType, LightningArgumentParser

from wemoe_pl.cli.job import WeMoECLI, only_tell
from wemoe_pl.cli.options import FRESH, QUIET


class ReadCLI(WeMoECLI):
    """A `ReadCLI` builds a job without running it, and accepts the switches of the run commands."""

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, and log only warnings."""
        given = args if isinstance(args, list) else []
        switches = {FRESH: FRESH, **dict.fromkeys(QUIET, QUIET[-1])}  # verbs give them a value
        args = [f"{switches[arg]}=true" if arg in switches else arg for arg in given]
        super().parse_arguments(parser, args)
        only_tell(logging.WARNING)
