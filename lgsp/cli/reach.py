"""How a command reaches the bus: by its data folder, or as an officer over the network. The options for it, the same at every command.

What is said to the bus, and how, is `gateway_door`'s.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from lgsp import keyfiles
from lgsp.cli.options import DEFAULT_DATA, Data
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, read_trust
from lgsp.domain import names
from lgsp.domain.keys import PrivateKey, PublicKey
from lgsp.errors import Refusal, Unusable
from lgsp.tls import check_url

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="LGSP_ADMIN_URL",
        help="Address of the gateway, to reach it as an officer | địa chỉ cổng, khi cán bộ thao tác từ xa",
    ),
]
As = Annotated[
    str | None,
    typer.Option("--as", envvar="LGSP_OFFICER", metavar="OFFICER", help="URN of the officer | URN của cán bộ"),
]
OfficerKey = Annotated[
    Path | None,
    typer.Option(
        "--key", envvar="LGSP_OFFICER_KEY", metavar="FILE", help="Private key of the officer | khóa riêng của cán bộ"
    ),
]
TrustFile = Annotated[
    Path,
    typer.Option("--trust", envvar="LGSP_TRUST", metavar="FILE", help="With --url: trust.json | cùng với --url"),
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="LGSP_CA",
        metavar="FILE",
        help="With --url: the authority behind the gateway's certificate | tệp chứng thư CA của cổng",
    ),
]
OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "data": (Data, DEFAULT_DATA),
    "url": (Url, None),
    "as_officer": (As, None),
    "as_key": (OfficerKey, None),
    "trust": (TrustFile, Path("trust.json")),
    "ca": (Authority, None),
}
"""Parameter -> its option and its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where the bus is, and as whom it is asked: without `url` as whoever may open the data folder."""

    data: Path
    url: str | None = None
    officer: str | None = None
    key: Path | None = None
    trust: Path = Path("trust.json")
    ca: Path | None = None

    @property
    def folder(self) -> DataFolder:
        """The data folder."""
        return DataFolder(root=self.data)

    def bus(self) -> str:
        """Return the URN of the bus that is meant."""
        return read_trust(self.trust).bus if self.url else Settings.load(self.data).bus.urn

    def pin(self) -> PublicKey:
        """Return the registrar's key that is pinned here."""
        return read_trust(self.trust).registrar if self.url else Settings.load(self.data).keys.registrar_key()

    def registrar(self, chosen: Path | None) -> PrivateKey:
        """Return the registrar's private key; refuse (`directory_invalid`) one that is not pinned here."""
        if chosen is None and self.url:
            raise Unusable("bad_request", "with --url the registrar's key is given with --registrar")
        path = chosen or self.folder.registrar_key
        key = keyfiles.read_private(path)
        if key.kid != self.pin().kid:
            place = self.trust if self.url else self.data
            raise Refusal("directory_invalid", f"{path} is not the registrar's key that {place} pins")
        return key


def _reach_of(given: dict[str, Any]) -> Reach:
    if given["url"] is None:
        if given["as_officer"] or given["as_key"]:
            raise Unusable("bad_request", "--as and --key go with --url; on a data folder nobody signs")
        return Reach(data=given["data"])
    if given["as_officer"] is None or given["as_key"] is None:
        raise Unusable("bad_request", "--url goes with --as and --key: the officer who asks, and their private key")
    try:
        url = check_url(given["url"])
    except ValueError as error:
        raise Unusable("bad_request", f"--url {error}") from None
    officer = names.officer_urn(given["as_officer"])
    return Reach(
        data=given["data"], url=url, officer=officer, key=given["as_key"], trust=given["trust"], ca=given["ca"]
    )


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say how it reaches the bus, in place of its parameter `reach`."""
    stated = get_type_hints(command, include_extras=True)
    own = [part for name, part in inspect.signature(command).parameters.items() if name != "reach"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)
        for name, (option, default) in OPTIONS.items()
    ]

    @functools.wraps(command)
    def called(*args: Any, **given: Any) -> None:  # noqa: ANN401 - whatever the command takes
        reach = _reach_of({name: given.pop(name) for name in OPTIONS})
        command(*args, **given, reach=reach)

    parts = [part.replace(annotation=stated[part.name]) for part in own]
    called.__signature__ = inspect.Signature([*parts, *added])  # type: ignore[attr-defined] # what typer reads
    called.__annotations__ = {part.name: part.annotation for part in (*parts, *added)}
    return called
