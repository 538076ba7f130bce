"""What the pictures of a channel tell: the test of reading, and channels that respond to two things."""
