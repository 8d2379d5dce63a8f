"""Run the command line with `python -m lora_core`."""

from .cli import main

if __name__ == "__main__":
    main()
