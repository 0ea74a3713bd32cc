"""What every way shares: inputs, results, directed rounding, bounds and state files."""
