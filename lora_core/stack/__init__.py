"""The user's stack of LoRAs: rows, files, presets."""
