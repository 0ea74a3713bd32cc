"""What is claimed of attention on real heads (ours)."""
