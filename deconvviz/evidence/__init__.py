"""Numbers that say whether a picture may be believed."""
