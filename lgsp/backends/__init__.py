"""Technologies behind the ports, one module or package each; none imports another."""
