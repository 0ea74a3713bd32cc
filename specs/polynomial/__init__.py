"""What is claimed of the polynomial method, on which P2 stands."""
