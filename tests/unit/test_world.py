"""The test kit itself: what it builds really holds."""

import pytest

from lgsp.domain import admission
from lgsp.domain.directory import broken_links
from lgsp.testing.world import FISHERIES, NDXP, POPULATION, World


def test_nothing_in_the_made_up_province_points_nowhere():
    world = World.make()
    assert broken_links(world.directory, world.documents) == []


def test_its_envelope_is_accepted_and_goes_to_the_bridge():
    world = World.make()
    accepted = world.judge(world.envelope())
    assert isinstance(accepted, admission.Accepted)
    assert accepted.leave.rule == "g-verify"
    assert [(target.receiver, target.inbox) for target in accepted.leave.targets] == [(POPULATION, NDXP)]
    assert accepted.subjects == (("CCCD", "099185000017"),)


def test_its_reply_is_accepted_for_its_request():
    world = World.make()
    request = world.envelope()
    accepted = world.judge(world.reply(request), request=world.exchange(request))
    assert isinstance(accepted, admission.Accepted)
    assert accepted.leave.targets[0].inbox == FISHERIES


def test_the_same_world_is_made_twice():
    assert World.make().directory.statement == World.make().directory.statement
    assert World.make().envelope() == World.make().envelope()


def test_a_change_to_a_record_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="g-nowhere"):
        World.make(changes={"g-nowhere": None})


def test_an_exchange_is_not_made_of_a_refused_envelope():
    world = World.make()
    with pytest.raises(Exception, match="purpose_not_granted"):
        world.exchange(world.envelope(purpose="dpv:Marketing"))
