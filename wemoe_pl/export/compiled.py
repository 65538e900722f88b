"""Write a package that torch has compiled to native code, and say where such code runs."""

import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from zipfile import ZipFile

import torch
from typing_extensions import TypedDict

from wemoe_pl.errors import ConfigError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.programs import Run, describe_outputs, traced

COMPILED_FILE = "compiled.pt2"
NOISY = ("torch.utils.cpp_extension", "torch._inductor.utils")
SETTINGS = {
    # Headers that are compiled before would be left in the folder for temporary files.
    "aot_inductor.precompile_headers": False,
    "cpp_cache_precompile_headers": False,
    "aot_inductor.enable_line_tables": False,  # for debuggers; names folders of this machine
}
SOURCE = ".cpp"
METADATA = "_metadata.json"  # the end of the name of a package's file that says what it is for


class CompiledFor(TypedDict):
    """A `CompiledFor` says what native code was compiled for, in torch's words.

    Attributes:
        torch: the version of torch, which is the only one that is sure to load it.
        device: the kind of device: "cpu" or "cuda".
        platform: the operating system, such as "linux".
        machine: the kind of processor, such as "x86_64".
        instructions: the vector instructions that the processor must have.
        cuda_capability: the CUDA capability that a GPU must have; empty for a CPU.
    """

    torch: str
    device: str
    platform: str
    machine: str
    instructions: str
    cuda_capability: str


def check_compiler() -> None:
    """Raise `ConfigError` if the C++ compiler that torch would call is not there."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    [compiler, *_] = shlex.split(os.environ.get("CXX", "")) or [default]
    if shutil.which(compiler) is None:
        raise ConfigError(
            f"The format aoti needs a C++ compiler, and there is no {compiler}: install {default}, "
            "name another compiler by the environment variable CXX, or choose torch-export."
        )


def write_compiled(model: ExportedModel, folder: Path) -> None:
    """Write native code for the device that the model is on, and what its outputs are.

    Raises:
        ConfigError: the compiler failed.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler
    from torch._inductor.utils import fresh_cache

    program, package = traced(model), folder / COMPILED_FILE
    try:
        # What the compiler leaves is removed by the outer folder if it fails.
        with less_noise(), TemporaryDirectory() as place, fresh_cache(dir=place):
            aoti_compile_and_package(
                program, package_path=str(package), inductor_configs=known_settings()
            )
    except (CppCompileError, InvalidCxxCompiler, InductorError) as error:
        cause = getattr(error, "inner_exception", error)
        if not isinstance(cause, CppCompileError | InvalidCxxCompiler):
            raise
        raise ConfigError(
            f"The C++ compiler failed on the code that torch wrote for the model{said_by(cause)}: "
            "try another compiler by the environment variable CXX, or choose torch-export."
        ) from error
    remove_source(package)
    describe_outputs(model, folder)


def said_by(error: Exception) -> str:
    """Return in brackets the last error that a compiler printed, or nothing."""
    printed = str(getattr(error, "output", error)).splitlines()
    faults = [line.strip() for line in printed if "error" in line.lower()]
    return f" ({faults[-1]})" if faults else ""


def known_settings() -> dict[str, Any]:
    """Return those of `SETTINGS` that this version of torch has."""
    from torch._inductor import config

    known = config.get_config_copy()
    return {name: value for name, value in SETTINGS.items() if name in known}


def remove_source(package: Path) -> None:
    """Remove from a package the C++ code, in which the folders of this machine are named."""
    whole = package.with_suffix(".whole")
    package.rename(whole)
    with ZipFile(whole) as before, ZipFile(package, "w") as after:
        for entry in before.infolist():
            if not entry.filename.endswith(SOURCE):
                with before.open(entry) as source, after.open(entry, "w") as target:
                    shutil.copyfileobj(source, target)
    whole.unlink()


def open_compiled(folder: Path) -> Run:
    """Return the written package as a function of images, which runs its native code."""
    from torch._inductor import aoti_load_package

    with less_noise():
        run: Run = torch.no_grad()(aoti_load_package(str(folder / COMPILED_FILE)))
    return run


@contextmanager
def less_noise() -> Iterator[None]:
    """Keep torch, while the block runs, from warning of a missing GPU and of folders that it left.

    What goes wrong is told by errors all the same.
    """
    loggers = {logging.getLogger(name) for name in NOISY}
    before = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def compiled_as_stated(folder: Path) -> CompiledFor | None:
    """Read what the package of a folder was compiled for, without loading it; None without one."""
    path = folder / COMPILED_FILE
    if not path.is_file():
        return None
    with ZipFile(path) as package:
        name = next(name for name in package.namelist() if name.endswith(METADATA))
        stated = cast(dict[str, str], json.loads(package.read(name)))
    return CompiledFor(
        torch=str(torch.__version__),
        device=stated["AOTI_DEVICE_KEY"],
        platform=stated["AOTI_PLATFORM"],
        machine=stated["AOTI_MACHINE"],
        instructions=stated["AOTI_CPU_ISA"],
        cuda_capability=stated["AOTI_COMPUTE_CAPABILITY"],
    )
