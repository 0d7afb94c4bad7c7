"""`lgsp evidence`: check a bundle of evidence where there is neither bus nor database nor network, and tell of it on one page."""
