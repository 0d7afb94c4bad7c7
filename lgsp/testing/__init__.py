"""The public test kit: contract suites for ports and adapters, simulators, strategies."""
