"""What figures share: marks, panels, looks."""
