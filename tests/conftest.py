"""Its being here puts the repository's root on the path, whichever part of the tests is run alone."""
