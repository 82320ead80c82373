"""The spec held against the files: columns, keys, strategies, policies, guards, and how many parts a merge is done in.

Pure: what it is given it is told. It reads nothing but the reference seeds, and starts nothing."""
