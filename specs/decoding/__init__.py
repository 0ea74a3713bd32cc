"""I: decoding with an index of keys, and what the keys that are not read can change."""
