"""What is claimed of attention kernels in low precision: what a declared arithmetic may return."""
