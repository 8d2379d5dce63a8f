"""LoRA files, in every dialect people use."""
