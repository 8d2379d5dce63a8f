"""The node that lets a language model write a prompt more fully, before the video and to be edited first."""

from __future__ import annotations

import hashlib
import json

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..lora_core import LoraStack, ModelSpec
from ..lora_core.refiner.refined import Refined
from ..lora_core.refiner.sources import POCKET_LM
from ..lora_core.refiner.spans import protected_spans
from ..lora_core.wording import Said, joined, said
from .base import Node, schema, shown
from .faults import without_paths
from .kept_words import words_to_keep
from .language_models import files_of_language_model, language_model_names
from .native_spec import spec_of_model
from .refiners import AUTO, SERVER, RefinerChoice, purposes, refine_in_host
from .sockets import LoraStackType, WanModelHandle, WanModelType


class RefinePrompt(Node):
    """Let a language model write a prompt more fully: see what it made, edit it, and only then make the video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Refine Prompt",
            search_aliases=[
                *("prompt enhancer", "prompt extend", "prompt upsampler", "rewrite prompt", "improve prompt"),
                *("llm", "language model", "ollama", "openai", "llama.cpp", "qwen", "magic prompt"),
            ],
            is_output_node=True,
            inputs=[*_choices(), *_edit(), *_sockets()],
            outputs=[
                io.String.Output("text", display_name="text", tooltip="The prompt, for CLIP Text Encode."),
                io.String.Output(
                    "report", display_name="report", tooltip="The text before and after, or why it is as it was."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        refine: bool | None = None,
        refiner: str | None = None,
        url: str | None = None,
        write_for: str | None = None,
    ) -> bool | str:
        if None in (refine, refiner, write_for) or not refine:  # None comes from another node
            return True
        return cls.checked(lambda: RefinerChoice(refiner, url or "", "", write_for).refiner())

    @classmethod
    def fingerprint_inputs(cls, refine: bool | None = None, refiner: str | None = None, **_: object) -> object:
        return files_of_language_model(refiner) if refine and refiner not in (None, SERVER) else None

    @classmethod
    def execute(
        cls,
        text: str,
        refine: bool,
        refiner: str,
        write_for: str,
        keep: str = "",
        url: str = "",
        url_model: str = "",
        edited: str = "",
        edited_of: str = "",
        again: int = 0,  # that it differs is enough: the host runs the node anew
        model: WanModelHandle | ModelPatcher | None = None,
        stack: LoraStack | None = None,
    ) -> io.NodeOutput:
        if not refine or not text.strip():
            why = said("off: the text is used as it was") if not refine else said("there is no text to refine")
            return io.NodeOutput(text, why, ui=shown(why))
        choice = RefinerChoice(refiner, url, url_model, write_for)
        words = words_to_keep(keep, model, stack)
        of = _digest(text, choice, words)
        if edited.strip() and edited_of in ("", of):
            result, report, is_edited = edited, _edit_report(text, edited, words), True
        else:
            refined = refine_in_host(text, choice.refiner(_spec_of(model)), words)
            lines = [*_lines(refined), *_dropped(edited)]
            result, report, is_edited = refined.prompt, without_paths(joined("\n", lines)), False
        page = {"refined": [result], "of": [of], "edited": [is_edited]}
        return io.NodeOutput(result, str(report), ui={**shown(report), **page})


def _choices() -> list[io.Input]:
    """Return the widgets that say what is refined, and by what."""
    return [
        io.String.Input(
            "text",
            multiline=True,
            default="",
            tooltip="The prompt as you would say it, in any language the refiner knows.",
        ),
        io.Boolean.Input(
            "refine", default=True, label_on="on", label_off="off", tooltip="Off passes the text on as it is."
        ),
        io.Combo.Input(
            "refiner",
            options=[*language_model_names(), SERVER],
            default=POCKET_LM,
            tooltip="The language model: pocket-lm, which writes for the pocket models alone; folders and .gguf files "
            "below models/LLM and models/text_encoders; or a server. Nothing is downloaded.",
        ),
        io.Combo.Input(
            "write_for",
            options=purposes(),
            default=AUTO,
            tooltip="What its instructions are written for. 'auto' is the video model at the input model, and what "
            "the language model was trained to do.",
        ),
        io.String.Input(
            "keep",
            default="",
            optional=True,
            tooltip="Words that have to stay letter by letter, with commas between them; trigger_words of a stack, "
            "for one. Quoted text and numbers stay anyway.",
        ),
        io.String.Input(
            "url",
            default="http://127.0.0.1:8080",
            optional=True,
            tooltip="A server of OpenAI's form, such as llama.cpp, Ollama (port 11434) or vLLM. It is sent the text.",
        ),
        io.String.Input(
            "url_model",
            default="",
            optional=True,
            tooltip="What the server calls the model; empty for the one it has. Ollama wants a name.",
            advanced=True,
        ),
    ]


def _edit() -> list[io.Input]:
    """Return the widgets of the edit: the page fills them in, from what is written into the field below the others."""
    unseen = {"socketless": True, "extra_dict": {"hidden": True}}
    return [
        io.String.Input(
            "edited",
            display_name="refined text",
            multiline=True,
            default="",
            optional=True,
            socketless=True,
            tooltip="What the refiner made. Write another text and that is used, until what it was made of changes; "
            "empty it and the refiner's is used again.",
        ),
        io.String.Input(
            "edited_of",
            default="",
            optional=True,
            tooltip="What the edit is an edit of; empty for any text. The page fills it in.",
            **unseen,
        ),
        io.Int.Input(
            "again", default=0, min=0, optional=True, tooltip="Another number asks the refiner anew.", **unseen
        ),
    ]


def _sockets() -> list[io.Input]:
    return [
        io.MultiType.Input(
            "model",
            [WanModelType, io.Model],
            optional=True,
            tooltip="The video model, or a MODEL: the trigger words of the LoRAs on it stay in the text, and 'auto' "
            "writes for it.",
        ),
        LoraStackType.Input("stack", optional=True, tooltip="LoRAs whose trigger words stay in the text."),
    ]


def _spec_of(model: WanModelHandle | ModelPatcher | None) -> ModelSpec | None:
    if model is None or isinstance(model, WanModelHandle):
        return None if model is None else model.spec
    return spec_of_model(model, num_experts=1, where="RefinePrompt")


def _digest(text: str, choice: RefinerChoice, words: tuple[str, ...]) -> str:
    """Return what tells one refinement from another, for the page to know whether an edit is still of this one."""
    whole = [text, choice.model, choice.write_for, *((choice.url, choice.url_model) if choice.model == SERVER else ())]
    return hashlib.sha256(json.dumps([*whole, *words]).encode()).hexdigest()[:16]


def _lines(refined: Refined) -> list[Said]:
    """Say what became of a text."""
    lines = [
        said("{by}, {seconds:.1f} s", by=refined.by, seconds=refined.seconds),
        said("before: {text}", text=refined.given),
    ]
    if refined.fault:
        lines.append(said("refused: {fault}; the text is used as it was", fault=refined.fault))
    else:
        lines.append(said("after: {text}", text=refined.prompt))
    return [*lines, *([said("kept: {words}", words=", ".join(refined.kept))] if refined.kept else [])]


def _edit_report(text: str, edited: str, words: tuple[str, ...]) -> Said:
    lost = [span.named() for span in protected_spans(text, words) if not span.is_in(edited)]
    lines = [
        said("as you have edited it"),
        said("before: {text}", text=text),
        said("after: {text}", text=edited),
        *([said("note: it has no longer {what}", what=joined(", ", lost))] if lost else []),
    ]
    return joined("\n", lines)


def _dropped(edited: str) -> list[Said]:
    return [said("note: your edit was of another text, and is not used")] if edited.strip() else []
