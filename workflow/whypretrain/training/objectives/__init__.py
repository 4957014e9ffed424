"""What sources learn: one module each, named by config."""
