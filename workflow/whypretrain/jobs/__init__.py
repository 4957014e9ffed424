"""From the grid to jobs: which files there are, what each is made from, and what it should say of itself."""
