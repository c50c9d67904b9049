"""How one network learns: the loop, its losses, rates and weights on disk."""
