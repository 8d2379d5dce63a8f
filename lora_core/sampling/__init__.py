"""The walk from noise to latents."""
