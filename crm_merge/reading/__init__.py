"""The bytes of input files: where they are, how they are written, what of them can be read with certainty; and places for results.

Does not know what a merge is.
"""


class FileProblem(Exception):
    """What is wrong with one file, as a sentence for the user.

    ``transient``: the same may go well later without anybody doing anything about it (a server that can't be reached, is
    too busy or breaks off).
    """

    def __init__(self, sentence: str, transient: bool = False):
        super().__init__(sentence)
        self.transient = transient


class NotThere(FileProblem):
    """A file that does not exist, or a folder or glob that means none: it may come."""
