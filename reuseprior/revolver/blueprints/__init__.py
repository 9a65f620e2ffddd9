"""Models as plain trees: the kinds of blocks, names and scopes, shapes, what is unique."""
