"""Options that several commands share; behind each flag stands a variable of the environment, which the help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_DATA: Final = Path("lgsp-data")
DEFAULT_TRUST: Final = Path("trust.json")

Data = Annotated[
    Path,
    typer.Option("--data", envvar="LGSP_DATA", metavar="DIR", help="The data folder of the gateway | thư mục dữ liệu"),
]
TrustFile = Annotated[
    Path,
    typer.Option(
        "--trust", envvar="LGSP_TRUST", metavar="FILE", help="trust.json of the bus | tệp trust.json của trục"
    ),
]
System = Annotated[
    Path,
    typer.Option(
        "--system",
        envvar="LGSP_SYSTEM",
        metavar="FILE",
        help="system.toml of the system | tệp system.toml của hệ thống",
    ),
]
Registrar = Annotated[
    Path | None,
    typer.Option(
        "--registrar",
        envvar="LGSP_REGISTRAR",
        metavar="FILE",
        help="Private key of the registrar; DIR/registrar/registrar.pem if not given | khóa riêng của bộ phận quản lý danh bạ",
    ),
]
PublicKeyFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The public key: JWK, or PEM with --proof | tệp khóa công khai"),
]
Proof = Annotated[
    str | None,
    typer.Option(
        "--proof",
        envvar="LGSP_PROOF",
        help="What lgsp keys prove printed, unless it is in FILE | bằng chứng đang giữ khóa",
    ),
]
Encrypt = Annotated[
    bool,
    typer.Option(
        "--encrypt",
        envvar="LGSP_ENCRYPT",
        help="Encrypt the file under the passphrase of LGSP_KEY_PASSPHRASE_FILE, LGSP_KEY_PASSPHRASE or the terminal | mã hóa tệp khóa",
    ),
]
