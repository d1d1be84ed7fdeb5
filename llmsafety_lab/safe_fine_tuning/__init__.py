"""Safe fine-tuning: what the chapter and its lab use."""
