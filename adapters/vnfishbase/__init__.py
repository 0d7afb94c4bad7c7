"""VNFishbase of the department of agriculture and environment: fishing vessels and their owners."""
