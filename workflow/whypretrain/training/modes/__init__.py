"""Modes of target training: one module each, named by config."""
