"""What P4 claims of attention regression, and what is true."""
