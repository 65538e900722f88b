"""What `wemoe-pl bench` is told to take is all that there is, by the same names."""

from wemoe_pl.bench.measures import MEASURES
from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_SHAPES
from wemoe_pl.bench.subjects import SHAPES


def test_names_are_of_the_measures_and_shapes_that_exist() -> None:
    assert tuple(MEASURES) == BENCH_MEASURES
    assert tuple(SHAPES) == BENCH_SHAPES


def test_a_measure_has_the_name_of_its_function() -> None:
    assert {name: measure.__name__ for name, measure in MEASURES.items()} == {
        name: name for name in BENCH_MEASURES
    }
