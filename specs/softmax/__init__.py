"""What is claimed of softmax: perturbation, the exp kernel, rounding."""
