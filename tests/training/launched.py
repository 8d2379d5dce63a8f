"""What each process of launched trainings does: the same as one alone, on clips that are drawn already.

Run as `torchrun --nproc-per-node 2 launched.py CLIPS JOBS`: a pickled cache, and JSON, of each job where to, the
configuration's keys, the options of `train` and after which step the second process wants an end, 0 for never. They
are done one after the other; what ends with an error of our own is told, and the next is done.
"""

from __future__ import annotations

import json
import pickle
import sys
from itertools import count
from pathlib import Path

from lora_core.cli.train import open_model
from lora_core.errors import LoraCoreError
from lora_core.training.config import make_config
from lora_core.training.ranks import find_ranks
from lora_core.training.train import train


def main() -> None:
    ranks = find_ranks()
    cache = pickle.loads(Path(sys.argv[1]).read_bytes())
    for out, settings, options, stop_at in json.loads(sys.argv[2]):
        config, asked = make_config(settings), count(1)
        wants_end = (lambda asked=asked, at=stop_at: next(asked) == at) if ranks.index == 1 else lambda: False
        try:
            model = open_model(config.model, ranks.device)
            train(config, model, cache, out, ranks=ranks, should_stop=wants_end, **options)
        except LoraCoreError as error:
            sys.stdout.write(f"{type(error).__name__} in {ranks.index}: {error}\n")
    ranks.leave()


if __name__ == "__main__":
    main()
