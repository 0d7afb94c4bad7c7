"""The demo: a made-up province on one machine, every program a process of its own, told in acts and verified at the end."""
