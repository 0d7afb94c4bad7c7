"""`lgsp keys`: made, shown, proven, checked."""
