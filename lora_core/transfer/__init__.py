"""A LoRA of one model on another of the same shapes: how alike they are, and what becomes of it."""
