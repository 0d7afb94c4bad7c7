"""Certificates by command: what `doctor` says of them, and a gateway that takes a new one without ending."""

import http.client
import json
import re
import signal
import socket
import ssl
import time
from datetime import timedelta

import psutil
import pytest
from cryptography import x509

from lgsp.machine import SystemClock
from lgsp.testing.authority import Authority
from lgsp.tls import trusting

SECONDS = 20


@pytest.fixture
def authority(data):
    return Authority.make(data / "tls")


@pytest.fixture
def secured(data):
    """Return the function that has the gateway of the data folder use a pair."""

    def use(pair, client_ca=None):
        settings = data / "lgsp.toml"
        paths = f'[http]\ntls_cert = "{pair.cert}"\ntls_key = "{pair.key}"\n'
        if client_ca is not None:
            paths += f'client_ca = "{client_ca}"\nclient_certificates = "required"\n'
        settings.write_text(re.sub(r"\[http\]\n(tls_\w+ = .*\n)*", paths, settings.read_text()))

    return use


@pytest.mark.parametrize(
    ("days", "sign", "code"), [(31.5, "✓", 0), (29.5, "!", 0), (-1.5, "✗", 1)], ids=["good", "soon", "expired"]
)
def test_doctor_warns_before_a_certificate_ends_and_fails_after(data, lgsp, authority, secured, days, sign, code):
    secured(authority.sign("gateway", addresses=["127.0.0.1"], until=SystemClock().now() + timedelta(days=days)))
    ended = lgsp("doctor", "--data", data)
    [line] = [line for line in ended.out.splitlines() if "the TLS certificate" in line]
    assert (line[0], str(int(abs(days))) in line, ended.code) == (sign, True, code), ended.out


def test_doctor_names_a_certificate_that_does_not_fit_its_key(data, lgsp, authority, secured):
    pair, other = authority.sign("gateway"), authority.sign("other")
    pair.key.write_bytes(other.key.read_bytes())
    secured(pair)
    ended = lgsp("doctor", "--data", data)
    assert (ended.code, "✗ [config_invalid]" in ended.out) == (1, True), ended.out


def test_a_running_gateway_takes_a_new_certificate_on_sighup_and_goes_on(
    province, lgsp, authority, secured, serve_for_a_moment
):
    first = authority.sign("gateway", addresses=["127.0.0.1"])
    secured(first)
    with serve_for_a_moment() as url:
        port = int(url.rpartition(":")[2])
        with connected(port, authority) as before:
            assert serial_of(before) == serial_in(first)
            second = authority.sign("gateway", addresses=["127.0.0.1"])
            process_on(province).send_signal(signal.SIGHUP)
            until = time.monotonic() + SECONDS
            while serial_shown(port, authority) != serial_in(second):
                assert time.monotonic() < until
                time.sleep(0.05)  # another process: there is nothing here to await
            before.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert before.recv(100).startswith(b"HTTP/1.1 200")
        assert lgsp("health", url, "--ca", authority.cert).code == 0


def test_a_gateway_that_demands_certificates_takes_envelopes_over_their_systems_connection_alone(
    province, authority, secured, serve_for_a_moment, question
):
    secured(authority.sign("gateway", addresses=["127.0.0.1"]), client_ca=authority.cert)
    own, other = (authority.sign(name, uris=[f"urn:lgsp:agency:H01.99:sys:{name}"]) for name in ("asker", "answerer"))
    with serve_for_a_moment() as url:
        port = int(url.rpartition(":")[2])
        assert posted(port, question(), authority) == (403, "certificate_missing")
        assert posted(port, question(), authority, other) == (403, "certificate_mismatch")
        assert posted(port, question(), authority, own) == (202, "")


def posted(port, wire, authority, pair=None):
    """Post an envelope over a connection that shows this pair; return the status, and the code of a refusal."""
    shown = {} if pair is None else {"certificate": pair.cert, "key": pair.key}
    context = trusting(authority.cert, **shown)
    calling = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=SECONDS)
    headers = {"lgsp-env": wire.compact.decode(), "Content-Type": "application/json"}
    calling.request("POST", "/v1/envelopes", body=wire.body, headers=headers)
    answer = calling.getresponse()
    found = json.loads(answer.read())
    calling.close()
    return answer.status, found.get("code", "")


def connected(port, authority):
    context = trusting(authority.cert)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")


def serial_shown(port, authority):
    with connected(port, authority) as connection:
        return serial_of(connection)


def serial_of(connection: ssl.SSLSocket):
    return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number


def serial_in(pair):
    return x509.load_pem_x509_certificate(pair.cert.read_bytes()).serial_number


def process_on(data):
    """Return the process of the gateway that a test has started on a data folder."""
    [found] = [
        process
        for process in psutil.Process().children()
        if "serve" in process.cmdline() and str(data) in process.cmdline()
    ]
    return found
