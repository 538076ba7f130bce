"""What the library costs on a GPU, beside what the card allows and beside Captum and zennit. See `__main__`."""
