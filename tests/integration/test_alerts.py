"""Each alert rule fires on what it is about, none fires on a bus that is well, and no rule names a figure that no gateway gives."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lgsp.backends.memory import MemoryLedger, MemoryWitness
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import LOG, World, signer_named

FOLDER = Path(__file__).parents[2] / "docker" / "prometheus"
RULES = FOLDER / "rules.yaml"
GATEWAY = 'job="lgsp",instance="a"'
MINUTES = 90
DAY = 86_400
WELL = {
    f"up{{{GATEWAY}}}": "1",
    f"lgsp_ready{{{GATEWAY}}}": "1",
    f'lgsp_part_ok{{{GATEWAY},part="ledger"}}': "1",
    f'lgsp_part_ok{{{GATEWAY},part="broker"}}': "1",
    f'lgsp_part_ok{{{GATEWAY},part="clock"}}': "1",
    f'lgsp_envelopes_total{{{GATEWAY},outcome="accepted"}}': "0+600",
    f'lgsp_envelopes_total{{{GATEWAY},outcome="rejected"}}': "0+6",
    f'lgsp_refusals_total{{{GATEWAY},code="unavailable"}}': "0",
    f'lgsp_inbox_bytes{{{GATEWAY},inbox="H01.21/police",lane="bulk",state="queued"}}': "100",
    f"lgsp_inbox_limit_bytes{{{GATEWAY}}}": "1000",
    f'lgsp_inbox_deliveries{{{GATEWAY},inbox="H01.21/police",lane="bulk",state="parked"}}': "0",
    f'lgsp_oldest_waiting_seconds{{{GATEWAY},lane="request"}}': "1",
    f"lgsp_sweep_age_seconds{{{GATEWAY}}}": "1",
    f"lgsp_checkpoint_age_seconds{{{GATEWAY}}}": "1",
    f"lgsp_witness_age_seconds{{{GATEWAY}}}": "1",
    f'lgsp_expiry_timestamp_seconds{{{GATEWAY},what="tls"}}': str(90 * DAY),
    f"lgsp_tls_certificate_stale{{{GATEWAY}}}": "0",
    f'lgsp_stage_seconds_bucket{{{GATEWAY},stage="submit",le="0.1"}}': "0+600",
    f'lgsp_stage_seconds_bucket{{{GATEWAY},stage="submit",le="2.5"}}': "0+600",
    f'lgsp_stage_seconds_bucket{{{GATEWAY},stage="submit",le="+Inf"}}': "0+600",
}
"""A bus that is well: each series with its value, or its growth by the minute."""
WRONG = {
    "GatewayDown": {f"up{{{GATEWAY}}}": "0"},
    "GatewayNotReady": {f"lgsp_ready{{{GATEWAY}}}": "0"},
    "EngineAway": {f'lgsp_part_ok{{{GATEWAY},part="broker"}}': "0"},
    "ClockOff": {f'lgsp_part_ok{{{GATEWAY},part="clock"}}': "0"},
    "RefusalsRising": {f'lgsp_envelopes_total{{{GATEWAY},outcome="rejected"}}': "0+90"},
    "InboxNearlyFull": {f'lgsp_inbox_bytes{{{GATEWAY},inbox="H01.21/police",lane="bulk",state="queued"}}': "900"},
    "RequestsWait": {f'lgsp_oldest_waiting_seconds{{{GATEWAY},lane="request"}}': "61"},
    "DeliveriesParked": {f'lgsp_inbox_deliveries{{{GATEWAY},inbox="H01.21/police",lane="bulk",state="parked"}}': "1"},
    "SweepStalled": {f"lgsp_sweep_age_seconds{{{GATEWAY}}}": "31"},
    "CheckpointOld": {f"lgsp_checkpoint_age_seconds{{{GATEWAY}}}": "301"},
    "WitnessAway": {f"lgsp_witness_age_seconds{{{GATEWAY}}}": "601"},
    "ExpiresSoon": {f'lgsp_expiry_timestamp_seconds{{{GATEWAY},what="tls"}}': str(20 * DAY)},
    "ExpiresNow": {f'lgsp_expiry_timestamp_seconds{{{GATEWAY},what="tls"}}': str(2 * DAY)},
    "CertificateStale": {f"lgsp_tls_certificate_stale{{{GATEWAY}}}": "1"},
    "ErrorBudgetBurns": {f'lgsp_refusals_total{{{GATEWAY},code="unavailable"}}': "0+12"},
    "ReceiptsSlow": {f'lgsp_stage_seconds_bucket{{{GATEWAY},stage="submit",le="0.1"}}': "0+590"},
}
"""What is otherwise when an alert is to fire."""
TOGETHER = {"ExpiresNow": {"ExpiresSoon"}}
"""What fires with an alert."""


def rules():
    return {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def series(values):
    return [
        {"series": name, "values": f"{value}x{MINUTES}" if "+" in value else f"{value}+0x{MINUTES}"}
        for name, value in values.items()
    ]


def queries(fires):
    """Ask which alerts fire at the end."""
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return [
        {
            "expr": firing,
            "eval_time": f"{MINUTES}m",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(fires)],
        }
    ]


def promtool(*arguments):
    program = shutil.which("promtool")
    assert program is not None, "promtool is not installed: as an administrator run apt-get install prometheus"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_on_what_it_is_about_and_none_on_a_bus_that_is_well(tmp_path):
    tests = [{"interval": "1m", "name": "well", "input_series": series(WELL), "promql_expr_test": queries(set())}]
    for name, otherwise in WRONG.items():
        assert otherwise.keys() <= WELL.keys()
        fires = {name} | TOGETHER.get(name, set())
        tests.append(
            {
                "interval": "1m",
                "name": name,
                "input_series": series(WELL | otherwise),
                "promql_expr_test": queries(fires),
            }
        )
    made = tmp_path / "test.yaml"
    made.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", made)


def test_every_rule_is_tried_and_speaks_both_languages():
    found = rules()
    assert found.keys() == WRONG.keys()
    assert all(rule["labels"]["severity"] in {"critical", "warning"} for rule in found.values())
    assert all(rule["annotations"].keys() == {"summary", "summary_vi"} for rule in found.values())


def test_the_configuration_is_one(tmp_path):
    for name in ("prometheus.yaml", "rules.yaml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "ca.pem").touch()
    promtool("check", "config", tmp_path / "prometheus.yaml")


@pytest.fixture
async def given():
    """The names that a running gateway gives, those included that show what it has met."""
    world = World.make()
    clock = ManualClock(world.now)
    log = NoteKey(name=LOG, kind=LOG_KEY, public=world.signers["log"].public.x)
    anchor = MemoryWitness(name="witness", signer=signer_named("witness"), logs={LOG: log}, clock=clock)
    entropy = SeededEntropy(1, clock)
    async with running_edge(world, MemoryLedger(), clock=clock, entropy=entropy, anchor=anchor) as edge:
        await edge.post(world.envelope())
        await edge.call("GET", "/v1/nothing")
        edge.running.metrics.show_expiries({"tls": clock.now()})
        edge.running.metrics.show_certificate(lambda: 90.0, lambda: False)
        await edge.bus.room.refresh()
        answer = await edge.call("GET", "/metrics")
    families = text_string_to_metric_families(answer.body.decode())
    return {(sample.name, name) for family in families for sample in family.samples for name in [*sample.labels, ""]}


async def test_every_figure_and_label_of_a_rule_is_one_that_a_gateway_gives(given):
    for rule in rules().values():
        for name, labels in re.findall(r"(lgsp_\w+)(\{.*?\})?", rule["expr"]):
            assert {(name, label) for label in ["", *re.findall(r"(\w+)=", labels)]} <= given, rule["alert"]
