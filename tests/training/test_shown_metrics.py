"""Every figure that a run shows is one row of one table."""

from wemoe_pl.training.shown_metrics import ACCURACY, DRAWN, LABEL_FREE, SHOWN_METRICS


def test_a_key_belongs_to_one_row() -> None:
    keys = [key for metric in SHOWN_METRICS for key in metric.keys(["cars"])]
    assert len(keys) == len(set(keys))
    assert {"train/entropy", "val/acc/cars", "test/diversity", "routing/cars"} <= set(keys)


def test_every_score_is_written_under_a_key_of_its_own() -> None:
    results = [metric.result for metric in SHOWN_METRICS if metric.score]
    label_free = ["entropy", "agreement", "information", "diversity"]
    assert sorted(results) == sorted(["accuracy", "calibration_error", *label_free])
    assert [metric.result for metric in LABEL_FREE] == label_free


def test_pictures_and_summary_have_titles_and_units() -> None:
    assert {metric.label: metric.text(0.256) for metric in DRAWN} == {
        "entropy, nats": "0.26",
        "accuracy, %": "25.6",
        "agreement with the experts, %": "25.6",
        "classes predicted, %": "25.6",
    }
    assert ACCURACY.text(None) == "–"
