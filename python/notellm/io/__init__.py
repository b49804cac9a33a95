"""Files: complete or not at all, JSON with the place of its faults, fingerprints, and the cache folder."""
