"""A web page of everything that a network's channels respond to: a static site that opens from the disk."""
