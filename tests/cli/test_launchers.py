"""What a launcher says of itself, and what is wrong when it and the config differ."""

import pytest

from wemoe_pl.cli.launchers import Launcher, launcher, local_place, refuse_several
from wemoe_pl.errors import ConfigError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
BATCH = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "wemoe"}
SRUN = BATCH | {"SLURM_STEP_NUM_TASKS": "4"}


def started_by(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Launcher | None:
    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return launcher()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (TORCHRUN, Launcher("torchrun", 4, 2)),
        (SRUN, Launcher("srun", 4, 2)),
        (BATCH, Launcher("srun", 1, 2)),  # in the script of sbatch, before srun
        (SRUN | {"SLURM_JOB_NAME": "bash"}, None),  # in a shell on a node
        ({"SLURM_NTASKS": "1"}, Launcher("srun", 1, 1)),
    ],
)
def test_a_launcher_is_known_by_what_it_leaves_in_the_environment(
    environment: dict[str, str], expected: Launcher | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started_by(environment, monkeypatch) == expected


def test_slurm_must_say_how_many_processes_a_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--ntasks=4: ask for --nodes and --ntasks-per-node"):
        started_by({"SLURM_NTASKS": "4"}, monkeypatch)


def test_both_numbers_are_named_when_they_differ() -> None:
    Launcher("torchrun", 4, 2).check(devices=2, nodes=2)
    with pytest.raises(ConfigError) as error:
        Launcher("torchrun", 4, 2).check(devices=1, nodes=1)
    assert str(error.value) == (
        "torchrun has started 4 processes, but trainer.devices 1 on trainer.num_nodes 1 are 1: set "
        "trainer.devices to 2 and trainer.num_nodes to 2."
    )


def test_a_batch_script_without_srun_would_wait_for_ever() -> None:
    Launcher("srun", 1, 2).check(devices=1, nodes=1)
    with pytest.raises(ConfigError, match=r"2 on .* 2 are 4 processes.* begin .* with srun\.$"):
        Launcher("srun", 1, 2).check(devices=2, nodes=2)


def test_what_is_for_one_process_is_not_started_by_a_launcher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert started_by(BATCH, monkeypatch) is not None
    refuse_several("heads")
    started_by(TORCHRUN, monkeypatch)
    with pytest.raises(ConfigError, match=r"`wemoe-pl heads` is for one process, .* torchrun out"):
        refuse_several("heads")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        (TORCHRUN | {"LOCAL_RANK": "1"}, (1, 2)),
        (SRUN | {"SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, (1, 2)),
        (SRUN | {"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "2,4"}, (3, 4)),
        (SRUN | {"SLURM_LOCALID": "1", "SLURM_JOB_NAME": "bash"}, (0, 1)),
        ({"SLURM_LOCALID": "0"}, (0, 1)),  # in a job of an array
    ],
)
def test_a_process_has_a_number_on_its_machine(
    environment: dict[str, str], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_RANK", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    started_by(environment, monkeypatch)
    assert local_place() == expected
