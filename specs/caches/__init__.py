"""Q: attention over quantised keys and values, and how far it can be from attention over the originals."""
