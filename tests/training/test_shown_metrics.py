"""Every figure that a run shows is one row of one table."""

from wemoe_pl.training.shown_metrics import CURVES, LABEL_FREE, SHOWN_METRICS


def test_a_key_belongs_to_one_row() -> None:
    keys = [key for metric in SHOWN_METRICS for key in metric.keys(["cars"])]
    assert len(keys) == len(set(keys))
    assert {"train/entropy", "val/acc/cars", "test/diversity", "routing/cars"} <= set(keys)


def test_every_score_is_written_under_a_key_of_its_own() -> None:
    results = [metric.result for metric in SHOWN_METRICS if metric.score]
    assert results == ["accuracy", "calibration_error", "information", "diversity"]


def test_pictures_and_summary_have_titles_and_units() -> None:
    assert {key: (metric.label, metric.scale) for key, metric in CURVES.items()} == {
        "train/entropy": ("entropy, nats", 1),
        "val/acc": ("accuracy, %", 100),
        "val/diversity": ("classes predicted, %", 100),
    }
    assert [metric.label for metric in LABEL_FREE] == ["information, %", "classes predicted, %"]
