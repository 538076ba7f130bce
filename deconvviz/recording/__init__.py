"""What ran: one forward pass of a model, recorded as a tape of operations."""
