"""What is done to the weights of a checkpoint before it is a start."""
