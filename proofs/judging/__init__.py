"""An implementation's answers beside the enclosed truth, a module a stem."""
