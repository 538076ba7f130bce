"""The explorer: a local server whose page shows what a network responds to in an image, while one looks."""
