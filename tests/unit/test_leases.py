"""A lease tells by its name when it began and who holds it."""

from datetime import UTC, datetime

from lgsp.domain.leases import begun_at, holder_of, lease_name

UUID7 = "0199a1f2-7b1c-7f53-9a0e-0c8b7d6f1a22"


def test_a_lease_names_its_holder_and_keeps_the_rest_of_its_uuid():
    lease = lease_name(UUID7, "00c0ffee")
    assert holder_of(lease) == "00c0ffee"
    assert (lease[:-8], len(lease)) == (UUID7[:-8], len(UUID7))


def test_a_lease_began_at_the_millisecond_that_its_uuid_states():
    milliseconds = 0x0199A1F27B1C
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    assert begun_at(lease_name(UUID7, "00c0ffee")) == moment
