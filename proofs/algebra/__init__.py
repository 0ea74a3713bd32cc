"""The algebra of bounds: compose them, compare them, take limits, see what depends on what."""
