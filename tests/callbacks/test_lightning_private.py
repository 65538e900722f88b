"""What we use of Lightning beyond its public parts is still as it was when that was tried."""

import inspect
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import DDPStrategy

from wemoe_pl.callbacks.lightning_private import cause_in_trainer

LAUNCHERS = "lightning.pytorch.strategies.launchers"
SIGNALS = "lightning.pytorch.trainer.connectors.signal_connector"


def changed(part: str) -> str:
    """The sentence for a part that another version has changed."""
    return (
        f"Lightning {L.__version__} has changed {part}, on which wemoe_pl relies: look at "
        "wemoe_pl/callbacks/lightning_private.py, which says why and with which version."
    )


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        (LAUNCHERS, "_SubprocessScriptLauncher.kill", ["self", "signum"]),
        (LAUNCHERS, "_MultiProcessingLauncher.launch", None),
        (SIGNALS, "_SignalConnector._sigterm_notifier_fn", ["self", "signum", "_"]),
        (SIGNALS, "_SignalConnector.register_signal_handlers", ["self"]),
    ],
)
def test_private_methods_are_where_they_were_and_take_the_same(
    module: str, name: str, parameters: list[str] | None
) -> None:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
        assert found is not None, changed(f"{module}.{name}")
    if parameters is not None:
        assert [*inspect.signature(found).parameters] == parameters, changed(f"{module}.{name}")


def test_a_handler_of_sigterm_is_read_when_a_run_begins(
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    connector = quiet_trainer()._signal_connector
    source = inspect.getsource(type(connector).register_signal_handlers)
    assert "self._sigterm_notifier_fn" in source, changed("how SIGTERM is handled")


def test_processes_that_were_started_are_in_a_list() -> None:
    found = import_module(LAUNCHERS)
    starter = found._SubprocessScriptLauncher(SimpleNamespace(), 2, 1)
    assert starter.procs == [], changed("where the processes are that it has started")


@pytest.mark.parametrize(
    ("start", "launcher"),
    [("popen", "_SubprocessScriptLauncher"), ("spawn", "_MultiProcessingLauncher")],
)
def test_a_strategy_starts_processes_by_the_same_launcher(start: Any, launcher: str) -> None:
    strategy = DDPStrategy(start_method=start)
    strategy.cluster_environment = SimpleNamespace(creates_processes_externally=False)  # type: ignore[assignment]
    strategy.parallel_devices = []
    strategy._configure_launcher()
    found = type(strategy.launcher).__name__
    assert found == launcher, changed(f"what starts the processes of `{start}`")


def test_what_has_ended_a_run_is_told_though_its_teardown_fails_in_turn(
    quiet_trainer: Callable[..., L.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(kind: type[Exception]) -> Callable[..., None]:
        def raise_it(*_: Any, **__: Any) -> None:
            raise kind

        return raise_it

    trainer = quiet_trainer()
    monkeypatch.setattr(trainer, "_fit_impl", fail(OSError))
    monkeypatch.setattr(trainer, "_teardown", fail(RuntimeError))
    with pytest.raises(RuntimeError) as error:
        trainer.fit(L.LightningModule())
    assert isinstance(cause_in_trainer(error.value), OSError), changed("how a run ends")


def test_what_was_caught_elsewhere_has_not_ended_the_run() -> None:
    mistake = ValueError("a mistake")
    try:
        raise OSError
    except OSError as caught:
        mistake.__context__ = caught
    assert cause_in_trainer(mistake) is mistake


def shape(state: Any) -> Any:
    """The keys of a state of loops, without its counts."""
    return {key: shape(value) for key, value in state.items()} if isinstance(state, dict) else None


def test_the_progress_of_a_fit_is_kept_under_the_same_keys(
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    set_progress = import_module("wemoe_pl.callbacks.lightning_private").set_progress
    trainer = quiet_trainer(max_steps=4, val_check_interval=2, check_val_every_n_epoch=None)
    before = trainer.fit_loop.state_dict()
    after: dict[str, Any] = deepcopy(before)
    set_progress(after, 2, trainer, is_due=True, is_validated=False)
    after["epoch_progress"].pop("is_last_batch")  # of batches only
    assert shape(after) == shape(before), changed("how the progress of a fit is kept")
    trainer.fit_loop.load_state_dict(after)
    assert trainer.fit_loop.total_batch_idx == 1, changed("how a fit goes on")


@pytest.mark.parametrize(
    ("create", "names"),
    [
        (RichProgressBar, ["_console_kwargs", "_get_train_description"]),
        (WandbLogger, ["_wandb_init", "_experiment", "_offline"]),
    ],
)
def test_what_our_classes_take_from_those_that_they_extend_is_there(
    create: Callable[..., object], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = create()
    for name in names:
        assert hasattr(made, name), changed(f"{type(made).__name__}.{name}")
