"""The tuning of language models that refine prompts: all weights, LoRA or QLoRA, by TRL's trainer."""
