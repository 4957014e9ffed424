"""From images to trained networks: tasks, networks, training on a source and on a target."""
