"""Regularisers: one module each, named by config."""
