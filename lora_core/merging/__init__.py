"""Many LoRAs made one small file, and one made smaller, with what is lost told."""
