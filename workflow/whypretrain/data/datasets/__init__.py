"""Data sets: one module each, named by config."""
