"""Training: clips in, LoRAs or whole weights of both experts out."""
