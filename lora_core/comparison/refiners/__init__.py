"""The comparison of ways to fine-tune a prompt refiner: what each learns, what it forgets, and what videos gain."""
