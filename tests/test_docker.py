"""The image: what can be said of its files without building it, which docker/verify.sh does."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path

import pytest
import yaml

from wemoe_pl import __version__
from wemoe_pl.cli.main import main

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, such as ("USER", "1000:1000")."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line)
    return [(name, " ".join(rest.split())) for name, rest in lines]


def only(name: str) -> str:
    """What the one instruction of this name says."""
    [found] = [rest for given, rest in instructions() if given == name]
    return found


def copied() -> set[str]:
    """All that comes from the repository."""
    copies = (shlex.split(rest)[:-1] for name, rest in instructions() if name == "COPY")
    return {source for sources in copies if "--from=wheel" not in sources for source in sources}


# The Dockerfile


def test_hadolint_finds_nothing_to_say() -> None:
    beside_python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    hadolint = shutil.which("hadolint", path=beside_python) or pytest.skip("there is no hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_any_builder_takes_it() -> None:
    flags = {
        flag
        for _, rest in instructions()
        for flag in takewhile(lambda word: word.startswith("--"), rest.split())
    }
    assert flags == {"--from=wheel"}
    assert not re.search(r"<<|^# *(syntax|check) *=", DOCKERFILE, re.MULTILINE)


def test_the_base_is_chosen_outside() -> None:
    assert instructions()[0] == ("ARG", "BASE=python:3.11-slim-bookworm")
    stages = [rest for name, rest in instructions() if name == "FROM"]
    assert stages == ["${BASE} AS wheel", "${BASE}"]


def test_a_change_of_the_source_leaves_the_layer_of_the_requirements_as_it_is() -> None:
    steps = instructions()
    last_stage = steps[len(steps) - [name for name, _ in steps[::-1]].index("FROM") :]
    [installs] = [i for i, (_, rest) in enumerate(last_stage) if "--requirement" in rest]
    copies = [rest for name, rest in last_stage[:installs] if name == "COPY"]
    assert copies == ["pyproject.toml constraints.txt ./"]


def test_it_installs_what_the_package_requires() -> None:
    [program] = re.findall(r"python3 -c '([^']*)' > requirements.txt", DOCKERFILE)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == PROJECT["dependencies"]


def test_the_builder_sees_what_is_copied_and_nothing_else() -> None:
    first, *rest = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    assert first == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied()
    assert all((ROOT / source).exists() for source in copied())


def test_it_is_not_root_and_its_program_gets_the_signals() -> None:
    assert only("USER") == "1000:1000"
    assert json.loads(only("ENTRYPOINT")) == ["wemoe-pl"]
    assert json.loads(only("CMD")) == ["--help"]


def test_its_labels_are_true() -> None:
    assert only("LABEL").count("org.opencontainers.image.") == 4
    assert f'description="{PROJECT["description"]}"' in only("LABEL")
    assert f'licenses="{PROJECT["license"]}"' in only("LABEL")
    assert ("ARG", f"VERSION={__version__}") in instructions()


def test_keys_come_from_outside() -> None:
    given = " ".join(rest for name, rest in instructions() if name in ("ARG", "ENV"))
    assert not re.search(r"WANDB|HF_|TOKEN|KEY|SECRET|PASSWORD", given)


# The compose file


def test_compose_takes_it() -> None:
    docker = shutil.which("docker") or pytest.skip("the docker client is not installed")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("the docker client has no compose")
    command = f"{docker} compose --file compose.yaml --profile cpu config"
    done = subprocess.run(shlex.split(command), cwd=DOCKER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {"cpu", "gpu"}


def test_one_service_reserves_gpus_and_the_other_is_a_profile() -> None:
    gpu, cpu = COMPOSE["services"]["gpu"], COMPOSE["services"]["cpu"]
    [devices] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert (cpu["profiles"], "profiles" in gpu, "deploy" in cpu) == (["cpu"], False, False)


@pytest.mark.parametrize("service", ["cpu", "gpu"])
def test_every_service_has_shared_memory_volumes_and_the_keys_if_there_are_any(
    service: str,
) -> None:
    job = COMPOSE["services"][service]
    assert job["shm_size"] in ("1gb", "8gb")
    folders = re.findall(r":(/[\w/]+)", " ".join(job["volumes"]))
    assert folders == json.loads(only("VOLUME"))
    assert job["env_file"] == [{"path": "keys.env", "required": False}]
    assert "/docker/keys.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert job["init"]


# docker/README.md


def commands() -> Iterator[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", (DOCKER / "README.md").read_text(), re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        yield shlex.split(line)


JOBS = [words for words in commands() if words[:2] in (["docker", "run"], ["docker", "compose"])]


def test_the_readme_builds_what_it_runs() -> None:
    assert shlex.split("docker build --file docker/Dockerfile --tag wemoe-pl .") in commands()
    assert COMPOSE["services"]["gpu"]["image"] == "wemoe-pl"


@pytest.mark.parametrize("words", JOBS, ids=" ".join)
def test_the_readme_runs_commands_that_are_understood(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if "compose" in words:
        [service] = COMPOSE["services"].keys() & words
        arguments = words[words.index(service) + 1 :]
    else:
        arguments = words[words.index("wemoe-pl") + 1 :]
        volumes = {v.split(":")[1] for o, v in pairwise(words) if o == "--volume"}
        assert volumes <= set(json.loads(only("VOLUME")))
    if arguments:
        monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
        with pytest.raises(SystemExit) as finished:
            main([*arguments, "--print_config"])
        assert finished.value.code == 0


# docker/verify.sh


def verify(programs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script where `docker` and `podman` are programs that fail."""
    for engine in ("docker", "podman"):
        (programs / engine).write_text("#!/bin/sh\necho no engine\nexit 1\n")
        (programs / engine).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"} | environment
    return subprocess.run(
        ["bash", DOCKER / "verify.sh"], env=environment, capture_output=True, text=True, timeout=60
    )


def test_verify_says_that_there_is_no_engine(tmp_path: Path) -> None:
    done = verify(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Neither docker nor podman answers" in done.stderr


def test_verify_fails_when_its_checks_do(tmp_path: Path) -> None:
    done = verify(tmp_path, ENGINE="podman")
    results = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert done.returncode == 1
    assert all(line.startswith("failed  ") for line in results[:-1])
    assert results[-1] == f"{len(results) - 1} failed"
    assert "        no engine" in done.stdout
