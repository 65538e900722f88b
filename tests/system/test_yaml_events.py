"""A text of YAML is seen piece by piece, and what is none is an error."""

import pytest
import yaml

from wemoe_pl.system.yaml_events import events


def test_the_events_are_those_of_the_parser_in_python() -> None:
    text = "a: [1, &x yes, *x]\n'b': |\n  long\n"
    ours, theirs = list(events(text)), list(yaml.parse(text, yaml.SafeLoader))
    assert [type(event) for event in ours] == [type(event) for event in theirs]
    scalars = [event.value for event in ours if isinstance(event, yaml.ScalarEvent)]
    assert scalars == ["a", "1", "yes", "b", "long\n"]


def test_what_is_no_yaml_is_an_error() -> None:
    with pytest.raises(yaml.YAMLError):
        list(events("a: ["))
