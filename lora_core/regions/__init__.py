"""LoRAs in a part of the clip: regions and times become masks over a network's tokens."""
