"""What a channel does: the test of reading its pictures, channels that respond to two things, what feeds a channel."""
