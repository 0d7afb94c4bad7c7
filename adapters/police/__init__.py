"""The provincial police: completes lists of vessel owners."""
