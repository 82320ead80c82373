"""The bytes of input files: where they are, how they are written, what of them can be read with certainty."""


class FileProblem(Exception):
    """What is wrong with one file, as a sentence for the user."""
