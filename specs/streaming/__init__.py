"""What P2 claims of one pass, and what is true."""
