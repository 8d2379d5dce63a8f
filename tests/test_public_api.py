"""The public API: what `import lora_core` gives, and what it must not load."""

import inspect
import subprocess
import sys

import lora_core

#: What users import; a name leaves this list in a release that says so.
PUBLIC = [
    "SOLVERS",
    "WAN_SPEC_NAMES",
    "Account",
    "Advice",
    "Attachment",
    "Condition",
    "Delta",
    "Dora",
    "Expert",
    "Full",
    "GenerationRequest",
    "LoHa",
    "LoKr",
    "Lora",
    "LoraCoreError",
    "LoraEntry",
    "LoraFileError",
    "LoraMismatchError",
    "LoraReport",
    "LoraStack",
    "LoraWeights",
    "ModelError",
    "ModelSpec",
    "OutputError",
    "PlanError",
    "RequestError",
    "Route",
    "RoutedLora",
    "SamplingPlan",
    "StackError",
    "StepPlan",
    "StrengthSchedule",
    "TargetFilter",
    "TensorRecord",
    "UnsupportedLoraError",
    "Video",
    "WanModel",
    "WanVideoGenerator",
    "attach",
    "blend",
    "contact_sheet",
    "draw_noise",
    "find_twin",
    "flow_sigmas",
    "generate",
    "infer_wan_spec",
    "inspect_lora",
    "karras_sigmas",
    "load_stack",
    "make_plan",
    "open_cosmos",
    "open_wan",
    "opener",
    "plan_request",
    "read_lora",
    "read_video",
    "request_from_record",
    "route",
    "sample",
    "save_video",
    "stack_from_record",
    "wan_spec",
    "write_lora",
    "LoadedLora",
    "LoadedStack",
    "RunSettings",
    "ClipSize",
    "Region",
    "TimeCurve",
    "clip_mask",
    "clip_masks",
    "DenseRule",
    "RadialController",
    "RadialSettings",
    "RadialWishes",
    "make_controller",
    "radial_from_record",
    "usual_radial",
    "DatasetError",
    "Listener",
    "Prepared",
    "TrainConfig",
    "Trained",
    "TrainingError",
    "extract_checkpoints",
    "make_config",
    "prepare",
    "read_config",
    "train",
    "CompareConfig",
    "Compared",
    "compare",
    "make_comparison",
    "read_comparison",
    "Transfer",
    "clips_judge",
    "correct_lora",
    "transfer_lora",
    "Guide",
    "GuideNetworks",
    "SteerSettings",
    "Steering",
    "guide_from_record",
    "steered",
    "LoraMatch",
    "PostTrained",
    "StatedLora",
    "extract_post_trained",
    "match_lora",
    "CommandRefiner",
    "NoGuardrail",
    "WorldRequest",
    "open_guardrail",
    "EndpointRefiner",
    "LanguageModel",
    "LocalRefiner",
    "Refined",
    "find_instructions",
    "open_language_model",
    "refine",
    "MergeRecipe",
    "Merged",
    "Resized",
    "merge_loras",
    "resize_lora",
    "Ablation",
    "StackBalance",
    "ablate",
    "balance_stack",
    "Axis",
    "Grid",
    "MadeGrid",
    "make_grid",
    "plan_grid",
    "read_grid",
]


def test_every_public_name_exists_once_and_in_order() -> None:
    assert all(hasattr(lora_core, name) for name in lora_core.__all__)
    assert len(set(lora_core.__all__)) == len(lora_core.__all__)


def test_the_public_names_are_these() -> None:
    assert sorted(lora_core.__all__) == sorted(PUBLIC)


def test_every_public_object_says_what_it_is() -> None:
    public = {name: getattr(lora_core, name) for name in lora_core.__all__}
    spoken = [name for name, value in public.items() if inspect.isroutine(value) or inspect.isclass(value)]
    assert [name for name in spoken if not public[name].__doc__] == []


def test_importing_the_core_loads_no_torch_no_model_library_and_no_host() -> None:
    unwanted = "torch numpy diffusers transformers peft accelerate matplotlib imageio comfy folder_paths nodes server"
    code = f"import sys, lora_core; print(*set({unwanted.split()!r}) & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
