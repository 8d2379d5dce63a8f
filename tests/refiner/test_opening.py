"""Language models are opened from local files, and what is none is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from language_models import make_language_model

from lora_core.errors import ModelError
from lora_core.refiner.card import RefinerCard, read_card
from lora_core.refiner.opening import open_language_model, packing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_model(tmp_path_factory.mktemp("lm"))


def test_a_folder_answers_alike_every_time_alone_and_among_others(folder: Path) -> None:
    model = open_language_model(folder)
    alone = model.answer("a red ball", max_tokens=12)
    assert alone.num_tokens <= 12
    assert model.answers(["a red ball", "something much longer than that"], max_tokens=12)[0] == alone
    assert open_language_model(folder).answer("a red ball", max_tokens=12) == alone


def test_packed_in_4_bits_it_answers_too(folder: Path) -> None:
    packed = open_language_model(folder, base="nf4")
    assert packed.answer("a red ball", max_tokens=4).num_tokens <= 4
    assert packed.digest != open_language_model(folder).digest


def test_an_adapter_is_opened_on_the_base_that_it_names(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter", scale=3.0)
    there = open_language_model(adapter)
    assert there.source.base == folder
    assert there.digest == open_language_model(folder, adapter=adapter).digest
    assert there.text_of("x") == open_language_model(folder).text_of("x")


def test_an_adapter_on_another_base_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter")
    replace(read_card(adapter), base_digest="0" * 64).write(adapter)
    with pytest.raises(ModelError, match=r"adapter on another model, .* Give the model that it was trained on\."):
        open_language_model(adapter)


def test_an_adapter_whose_shapes_differ_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter")
    other = make_language_model(tmp_path / "other", hidden_size=48)
    (adapter / "refiner.json").unlink()
    with pytest.raises(ModelError, match="this adapter does not fit the model: "):
        open_language_model(other, adapter=adapter)


def test_an_adapter_whose_base_is_gone_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter")
    replace(read_card(adapter), base="/no/where").write(adapter)
    with pytest.raises(ModelError, match=r"adapter on ./no/where., which is not here\. Give its base as the model"):
        open_language_model(adapter)
    assert open_language_model(adapter, on=folder).source.base == folder
    assert open_language_model(folder, adapter=adapter).source.adapter == adapter


def test_a_gpu_that_bitsandbytes_has_no_library_for_is_told_of() -> None:
    assert packing(torch.bfloat16, torch.device("cpu")).load_in_4bit
    if torch.version.cuda is not None:
        pytest.skip("bitsandbytes has one for this PyTorch")
    with pytest.raises(ModelError, match=r"base nf4: bitsandbytes has no library for .*take the base as it is"):
        packing(torch.bfloat16, torch.device("cuda"))


def test_a_model_that_never_ends_an_answer_is_refused(folder: Path) -> None:
    model = open_language_model(folder)
    model.network.generation_config.eos_token_id = model.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="nothing says which token ends an answer"):
        model.answers(["a cat"])


@pytest.mark.parametrize("name", ["BertModel", "T5ForConditionalGeneration", "UMT5EncoderModel"])
def test_an_encoder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [name]}))
    with pytest.raises(ModelError, match=rf"it holds {name}, which does not go on with a text"):
        open_language_model(tmp_path)


def test_what_is_no_model_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        open_language_model(tmp_path / "none")
    with pytest.raises(ModelError, match=r"there is no config\.json in it"):
        open_language_model(tmp_path)
    with pytest.raises(ModelError, match=r"model\.safetensors: is no language model .* Give the folder"):
        open_language_model(folder / "model.safetensors")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ModelError, match=r"broken\.gguf: its tokenizer cannot be opened"):
        open_language_model(tmp_path / "broken.gguf")


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = make_language_model(tmp_path / "lm")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="its tokenizer has no chat template"):
        open_language_model(folder)


def test_models_that_may_think_first_are_asked_not_to(tmp_path: Path) -> None:
    template = (
        "{% if enable_thinking is defined and not enable_thinking %}at once: {% endif %}{{ messages[0]['content'] }}"
    )
    model = open_language_model(make_language_model(tmp_path, template=template))
    assert model.text_of("a cat") == "at once: a cat"


def test_a_request_that_leaves_no_room_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"the request has [\d,]+ tokens \(fewer than 256\). Shorten it\."):
        open_language_model(folder).answer("word " * 400)


def make_adapter(base: Path, folder: Path, *, scale: float = 0.0) -> Path:
    """Write a LoRA on a model, with its card."""
    from peft import LoraConfig, get_peft_model

    model = open_language_model(base)
    torch.manual_seed(0)
    adapted = get_peft_model(model.network, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, scale)
    adapted.save_pretrained(str(folder))
    RefinerCard(method="lora", base=str(base), base_digest=model.digest.removeprefix("full-")).write(folder)
    return folder


def test_what_watches_an_answer_is_told_of_every_token_and_may_end_it(tmp_path: Path) -> None:
    model = open_language_model(make_language_model(tmp_path), device="cpu")
    seen: list[tuple[int, int]] = []
    answer = model.answer("a ball", max_tokens=5, watch=lambda done, most: seen.append((done, most)))
    assert seen[-1] == (answer.num_tokens + answer.is_ended, 5)
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))

    def end(done: int, most: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.answer("a ball", watch=end)
