"""A gateway that is started as the guide says records its spans, as children of what the envelope states."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"
INSTRUMENT = "opentelemetry-instrument"

pytestmark = pytest.mark.timeout(120)


def command():
    """The command of the guide, without its settings and up to the data folder."""
    [line] = re.findall(
        rf"^OTEL_.* ({INSTRUMENT} lgsp serve --data) bus$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE
    )
    return line.split()


def test_a_gateway_that_is_instrumented_tells_of_what_it_accepts(province, question):
    address, told = province.parent / "address", province.parent / "told.txt"
    around = os.environ | {
        "OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "100",
    }  # fmt: skip
    program, *arguments = command()
    with told.open("w") as stream:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *arguments, str(province), "--port", "0", "--port-file", str(address)],
            stdout=stream, stderr=subprocess.STDOUT, env=around | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
    try:
        end = time.monotonic() + 30
        while not address.exists():
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < end, told.read_text()
            time.sleep(0.05)  # another process: there is nothing here to await
        wire = question(traceparent=PARENT)
        headers = {"lgsp-env": wire.compact.decode(), "Content-Type": "application/json"}
        with urlopen(
            Request(f"{address.read_text().strip()}/v1/envelopes", data=wire.body, headers=headers), timeout=30
        ) as answer:
            assert answer.status == 202
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
    assert code == 0, told.read_text()
    spans = [json.loads(text) for text in re.findall(r"^\{\n.*?^\}", told.read_text(), re.MULTILINE | re.DOTALL)]
    [accepted] = [span for span in spans if span["name"] == "lgsp.accept"]
    assert accepted["context"]["trace_id"].removeprefix("0x") in PARENT
    assert accepted["parent_id"].removeprefix("0x") in PARENT
    assert accepted["attributes"] == {
        "lgsp.type": "vn.lgsp.examples.record.ask.v1", "lgsp.lane": "request", "lgsp.env": wire.hash,
    }  # fmt: skip
