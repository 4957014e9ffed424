"""Networks: what they are made of, how they are built, their weights and activations."""
