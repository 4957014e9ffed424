"""What config may hold, and how it is read."""
