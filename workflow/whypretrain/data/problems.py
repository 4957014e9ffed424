"""What is wrong with files of the user's own, told by a dataset's module to whoever asked it."""


class UnusableFiles(Exception):
    """A dataset can't be made of what its parameter `path` leads to: one line that says why and how to mend it."""
