"""Where a name is not known, the names of its place are what may have been meant."""

import pytest

from lgsp.domain.guesses import members_at
from lgsp.domain.records import ServiceRecord, Subject


@pytest.mark.parametrize("place", [("subjects",), ("subjects", 0), ("reply_subjects", 17)])
def test_the_names_of_a_place_are_those_of_the_model_that_stands_there(place):
    assert members_at(ServiceRecord, place) == list(Subject.model_fields)


def test_the_names_of_the_beginning_are_the_models_own():
    assert members_at(ServiceRecord, ()) == list(ServiceRecord.model_fields)


@pytest.mark.parametrize("place", [("schemas",), ("schemas", 0), ("max_life",)])
def test_a_place_that_is_no_models_has_no_names(place):
    assert members_at(ServiceRecord, place) == []
