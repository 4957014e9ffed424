"""Training on sources and targets."""
