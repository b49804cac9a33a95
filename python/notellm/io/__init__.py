"""Files: written completely or not at all, JSON errors with their place, fingerprints, and the cache folder."""
