"""Images: partition, tasks, archives, and one module per data set in `datasets`."""
