"""What is wrong with files that the user brought, told by a dataset's module to whoever asked it."""


class UnusableFiles(Exception):
    """A dataset can't be made of what its `parameter` leads to: one line that says why and how to mend it."""

    parameter = "path"
