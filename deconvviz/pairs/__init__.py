"""Two networks, channel by channel: which channels of one have a counterpart in the other."""
