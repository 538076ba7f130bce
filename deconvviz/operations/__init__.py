"""What the library knows about each kind of operation."""
