"""Where servers run: what may be asked for, and what comes of it."""
import pytest

from downpour.errors import TrainingFailed
from downpour.placement import DRIVER, RUNNING, TASKS, Placement, driver_host, is_loopback, place

OWN = ["127.0.0.1:0", "localhost:7100"]


@pytest.mark.parametrize("servers, host, placement", [
    ("driver", None, Placement(DRIVER, tuple(OWN))),
    ("driver", "10.0.0.5", Placement(DRIVER, ("10.0.0.5:0", "10.0.0.5:7100"))),
    ("driver", "fd00::5", Placement(DRIVER, ("[fd00::5]:0", "[fd00::5]:7100"))),
    ("tasks", "10.0.0.5", Placement(TASKS, tuple(OWN))),
    ("node1:7100, node2:7100", None, Placement(RUNNING, ("node1:7100", "node2:7100"))),
    (["node1:7100"], "10.0.0.5", Placement(RUNNING, ("node1:7100",)))])
def test_places(servers, host, placement):
    assert place(servers, OWN, host) == placement


def test_addresses_that_are_not_loopback_stay():
    assert place("driver", ["node9:0", "[::1]:0"], "10.0.0.5").addresses == ("node9:0", "10.0.0.5:0")


@pytest.mark.parametrize("servers, peers, words", [
    ("nodes", False, "servers='nodes': it should be driver, running or tasks"),
    ("running", False, "the job's servers.addresses: 127.0.0.1:0 names no port"),
    ("http://node1:7100", False, "servers: 'http://node1:7100' should be host:port"),
    (5, False, "it should be a word or a list of addresses"),
    ([None], False, "it should be a word or a list of addresses"),
    (["node1:0"], False, "servers: node1:0 names no port"),
    ("tasks", True, "the workers hold the parameters"),
    ("node1:7100", True, "the workers hold the parameters")])
def test_what_is_refused(servers, peers, words):
    with pytest.raises(TrainingFailed) as caught:
        place(servers, OWN, None, peers)
    assert words in str(caught.value)


def test_loopback():
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "localhost", "[::1]", "10.0.0.1", "node1")] == [
        True, True, True, True, False, False]


def test_a_local_spark_needs_no_other_host(spark):
    assert driver_host(spark) is None
