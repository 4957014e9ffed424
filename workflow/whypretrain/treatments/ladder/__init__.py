"""Treatments: one module each, named by config."""
