"""A program of the demo that ends by itself is told with its last words; the file that holds them may be gone with the demo."""

import sys

import pytest

from lgsp.cli.demo.programs import Programs
from lgsp.errors import Unusable


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "import sys; print('starting', file=sys.stderr); sys.exit('lgsp: [port_in_use] taken')",
            "[port_in_use] taken",
        ),
        ("pass", "gateway.log"),
    ],
)
async def test_a_program_that_ends_at_once_is_told_with_its_last_words(tmp_path, code, told):
    async with Programs(logs=tmp_path, on_event=lambda _name, _event: None) as programs:
        program = await programs.start("gateway", sys.executable, "-c", code)
        with pytest.raises(Unusable) as refused:
            await program.event("gateway.started", seconds=30)
    assert refused.value.code == "unavailable"
    assert refused.value.detail.startswith("gateway ended: ")
    assert refused.value.detail.endswith(told)
