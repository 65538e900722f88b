"""`wemoe-pl`: LightningCLI with shipped configs, one folder per run, and errors of one sentence."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from wemoe_pl.adapt import TestTimeAdaptation
from wemoe_pl.configs import find_config
from wemoe_pl.suites import Suite
import wemoe_pl.data, wemoe_pl.miniature, wemoe_pl.finetune


class ShippedConfig(ActionConfigFile):
    """`--config`, by path or by the bare name of a shipped one."""

    def __call__(self, parser, cfg, values, option_string=None):  # type: ignore[no-untyped-def]
        super().__call__(parser, cfg, find_config(values), option_string)


class WeMoECLI(LightningCLI):
    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        parser = LightningArgumentParser(**kwargs)
        parser.add_argument("-c", "--config", action=ShippedConfig, help="A YAML file, or the name of a shipped one; repeatable.")
        return parser

    def add_arguments_to_parser(self, parser):
        parser.add_argument("--out", type=str, default="runs/latest", help="Folder of the run")
        parser.add_argument("--task", type=str | None, default=None, help="task")
        parser.add_argument("--suite", type=Suite)
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.save_top_k": 0})
        parser.link_arguments("out", "trainer.default_root_dir")
        parser.link_arguments("out", "checkpoint.dirpath", compute_fn=lambda out: f"{out}/checkpoints")
        parser.link_arguments("suite", "model.init_args.suite")
        parser.link_arguments("suite", "data.init_args.suite")
        parser.link_arguments("task", "model.init_args.task")
        parser.link_arguments("task", "data.init_args.task")
        parser.link_arguments("seed_everything", "data.init_args.seed")


def main(args=None):
    cli = WeMoECLI(
        LightningModule, LightningDataModule, subclass_mode_model=True, subclass_mode_data=True,
        auto_configure_optimizers=False, save_config_kwargs={"overwrite": True}, args=args, 
    )
if __name__=="__main__": main()
