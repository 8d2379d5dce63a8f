"""What each process of launched trainings does: the same as one alone, on clips that are drawn already.

Run as `torchrun --nproc-per-node 2 launched.py CLIPS JOBS`: a pickled cache, and JSON, of each job where to, the
configuration's keys and the options of `train`. They are done one after the other.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from lora_core.cli.train import open_model
from lora_core.training.config import make_config
from lora_core.training.ranks import find_ranks
from lora_core.training.train import train


def main() -> None:
    ranks = find_ranks()
    cache = pickle.loads(Path(sys.argv[1]).read_bytes())
    for out, settings, options in json.loads(sys.argv[2]):
        config = make_config(settings)
        train(config, open_model(config.model, ranks.device), cache, out, ranks=ranks, **options)
    ranks.leave()


if __name__ == "__main__":
    main()
