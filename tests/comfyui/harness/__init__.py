"""What the tests in a real ComfyUI stand on: finding it, starting it, talking to it, and its canvas in a browser."""
