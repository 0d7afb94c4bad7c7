"""What a log line may hold."""

import io

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
