"""The provincial operations centre (IOC): counts what departments tell on topics."""
