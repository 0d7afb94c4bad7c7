"""What the provincial police know about owners of vessels, made up."""

from adapters.made_up.fleet import fleet


def known_numbers(seed: int, count: int) -> dict[str, str]:
    """Return the owner's number by registration, for vessels of which the fisheries have none."""
    return {
        vessel.registration: vessel.police_number
        for vessel in fleet(seed, count).vessels
        if vessel.police_number is not None
    }
