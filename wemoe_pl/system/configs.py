"""Find a config or a suite by its path, or a shipped one by its bare name, from any folder."""

from pathlib import Path

from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.near_paths import did_you_mean_path

# The user trusts a package with this option; configs may then name its classes.
ALLOW = "--allow"
PACKAGE = Path(__file__).parents[1]
# The configs lie inside a package that is installed from a wheel, and next to it in a checkout.
SHIPPED_CONFIGS = next(
    (f for f in (PACKAGE / "assets/configs", PACKAGE.parent / "configs") if f.is_dir()),
    PACKAGE / "assets/configs",
)


def shipped_configs() -> list[str]:
    """Return the names of the shipped jobs, as `--config` takes them."""
    return sorted(path.name for path in SHIPPED_CONFIGS.glob("*.yaml"))


def shipped_trainers() -> list[str]:
    """Return the names of shipped trainer settings, which `--config` takes in addition to a job."""
    folder = SHIPPED_CONFIGS / "trainer"
    return sorted(f"{folder.name}/{path.name}" for path in folder.glob("*.yaml"))


def shipped_suites() -> list[str]:
    """Return the names of the shipped suites, as `--suite` takes them."""
    return sorted(path.stem for path in (SHIPPED_CONFIGS / "suites").glob("*.yaml"))


def find_suite(name: str) -> str:
    """Return the path of a suite: `name` itself if it is there, else the shipped one of that name.

    Raises:
        ConfigError: there is neither; the message names the nearest shipped one.

    >>> find_suite("miniature").endswith("configs/suites/miniature.yaml")
    True
    """
    return find("suite", name, SHIPPED_CONFIGS / "suites")


def find_config(name: str) -> str:
    """Return the path of a config: `name` itself if it is there, else the shipped one of that name.

    Raises:
        ConfigError: there is neither; the message names the nearest shipped one.

    >>> find_config("adapt_miniature").endswith("configs/adapt_miniature.yaml")
    True
    """
    return find("config", name, SHIPPED_CONFIGS)


def find(kind: str, name: str, shipped: Path) -> str:
    """Return the path of a file, given its path or its name among the shipped ones of its kind."""
    if (path := Path(name).expanduser()).is_file():
        return str(path)
    for candidate in (name, f"{name}.yaml"):
        if (shipped / candidate).is_file():
            return str(shipped / candidate)
    if path.exists() and not path.is_dir():
        raise ConfigError(
            f"The {kind} '{name}' is a pipe or a device, which a command would wait for: write its "
            "contents to a file first."
        )
    if (own := path / "config.yaml").is_file():
        raise ConfigError(f"The {kind} '{name}' is the folder of a run: give its config, {own}.")
    ending = Path(name).suffix  # names are compared with it or without it
    of_trainers = list(shipped.glob("trainer/*.yaml")) if "/" in name else []
    paths = [path.relative_to(shipped) for path in of_trainers or shipped.glob("*.yaml")]
    names = [str(path if ending else path.with_suffix("")) for path in paths]
    hint = did_you_mean_path(path).strip() if "/" in name else ""
    raise ConfigError(
        f"There is no {kind} '{name}', neither here ({Path.cwd()}) nor among the shipped ones. "
        f"{hint or did_you_mean(name, names)}"
    )
