"""Run the command as `python -m lgsp.cli`."""

from lgsp.cli import main

main()
