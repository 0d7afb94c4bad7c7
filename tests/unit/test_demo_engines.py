"""The engines that a person names for the demo."""

import pytest

from lgsp.cli.demo import engines
from lgsp.errors import Unusable


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("embedded", set()),
        ("", set()),
        ("rabbitmq", {"rabbitmq"}),
        (" rabbitmq , embedded", {"rabbitmq"}),
        ("postgresql", {"postgresql", "rabbitmq"}),
    ],
)
def test_engines_are_named_with_commas_between(text, found):
    assert engines.engines_of(text) == found


def test_an_engine_that_there_is_not_is_named_in_the_refusal():
    with pytest.raises(Unusable) as refused:
        engines.engines_of("rabbitmq,kafka")
    assert refused.value.code == "config_invalid"
    assert "kafka" in refused.value.detail
