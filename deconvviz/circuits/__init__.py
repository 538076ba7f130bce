"""What feeds a unit: the channels it reads, what each adds to its activation, and what it loses without them."""
