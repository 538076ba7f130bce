"""What the web pages of the package are made with: a bundle of modules, and a check of their types."""
