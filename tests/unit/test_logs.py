"""What a log line may hold."""

import io
import subprocess
import sys

import pytest
import structlog

from lgsp import logs


@pytest.fixture
def written(request):
    out = io.StringIO()
    logs.configure(stream=out, json=request.param)
    yield out
    structlog.reset_defaults()


def fail():
    body = "made-up" + " name"
    raise RuntimeError(len(body))


@pytest.mark.parametrize("written", [True, False], indirect=True)
def test_a_traceback_shows_no_values_of_variables(written):
    try:
        fail()
    except RuntimeError:
        logs.get_logger().error("commit.failed", operations=1, exc_info=True)
    assert "RuntimeError" in written.getvalue()
    assert "made-up name" not in written.getvalue()


def test_a_program_that_sets_up_no_logging_keeps_its_standard_output():
    script = (
        "from lgsp.sdk import get_logger\n"
        "get_logger().info('client.connected', url='u', system='s')\n"
        "get_logger().warning('client.clock', seconds=90)\n"
        "print('its own')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "its own\n"
    assert "client.clock" in ran.stderr
    assert "client.connected" not in ran.stderr


def test_a_program_that_sets_up_logging_of_its_own_is_heeded():
    with structlog.testing.capture_logs() as events:
        logs.get_logger().info("client.connected", url="u", system="s")
    assert [event["event"] for event in events] == ["client.connected"]
