"""The command `lgsp`: a file per group of commands. What they do is done by the layers below; here it is asked for and shown."""

import gc


def main() -> None:
    """Run the command that the process was called with, and end the process."""
    gc.disable()  # until all is loaded: what is loaded stays, and looking through it again and again took a tenth of the time
    from lgsp.cli.root import run  # noqa: PLC0415 - who imports one module of this package need not load all commands

    run()
