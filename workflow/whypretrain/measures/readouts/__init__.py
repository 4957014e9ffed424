"""Read-outs of an arm: one module each, named by config."""
