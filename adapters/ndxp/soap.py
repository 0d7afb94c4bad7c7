"""SOAP 1.1 messages: a hardened reader and a plain writer. What stands inside is left to others.

A message is UTF-8, at most 64 KiB and holds no markup declarations: without DOCTYPE there are no entities
that could grow or read files.
"""

from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
CONTENT_TYPE = "text/xml"
MOST_BYTES = 65_536
Element = ET.Element


class SoapBroken(ValueError):
    """The bytes are not one SOAP message; the text says why and quotes nothing of it."""


def write(body: str) -> bytes:
    """Wrap the XML of a body."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="{SOAP}">'
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()


def element(name: str, text: str) -> str:
    """Write one element that holds text alone."""
    return f"<{name}>{escape(text)}</{name}>"


def read(message: bytes) -> Element:
    """Return the one element inside the body, or raise SoapBroken."""
    envelope = _parse(_harmless(message))
    if envelope.tag != f"{{{SOAP}}}Envelope":
        raise SoapBroken("not a SOAP envelope")
    body = envelope.find(f"{{{SOAP}}}Body")
    if body is None or len(body) != 1:
        raise SoapBroken("the envelope needs one body with one element")
    return body[0]


def text_of(parent: Element, path: str) -> str:
    """Return the trimmed text at the path, empty when there is none."""
    return (parent.findtext(path) or "").strip()


def _harmless(message: bytes) -> str:
    if len(message) > MOST_BYTES:
        raise SoapBroken("the message is longer than 65,536 bytes")
    try:
        text = message.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SoapBroken("the message is not UTF-8") from None  # the cause holds the message
    if "<!" in text:
        raise SoapBroken("markup declarations, comments and CDATA are refused")
    return text


def _parse(text: str) -> Element:
    try:
        # A decoded text makes the parser ignore any other encoding that the message claims.
        return ET.fromstring(text)  # noqa: S314 - without declarations there is nothing to expand
    except ET.ParseError as error:
        raise SoapBroken("the message is not well-formed XML") from error
