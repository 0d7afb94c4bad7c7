"""Our technology behind the ports, one module or package per technology; none imports another."""
