"""What is asked for: the config, its words, and the grid that it spells out."""
