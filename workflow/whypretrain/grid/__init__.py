"""Studies expanded to arms, and their canonical names."""
