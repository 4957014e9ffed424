"""Why does pre-training work in convolutional networks? One grid, four papers."""
