"""`lgsp audit`: what security officers do with the log."""
