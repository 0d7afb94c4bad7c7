from collections.abc import Callable

import pytest

from adapters.made_up.fleet import Vessel, fleet


def outcome(vessel: Vessel) -> str:
    """Tell what must become of a vessel, from how it was made up and from nothing that anybody sent."""
    if vessel.kept_number is None and vessel.answers == "both_lack":
        return "number_missing"
    if vessel.kept_number is None and vessel.answers == "differ":
        return "answers_differ"
    if vessel.fault != "none":
        return vessel.fault
    return "owner_deceased" if vessel.owner.deceased else "linked"


@pytest.fixture(scope="session")
def true_outcomes() -> Callable[[int, int], dict[str, str]]:
    """Return the function from seed and count to the outcome by registration: `linked` or a reason."""
    return lambda seed, count: {vessel.registration: outcome(vessel) for vessel in fleet(seed, count).vessels}
