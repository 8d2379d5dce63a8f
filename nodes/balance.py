"""The node that shows how the LoRAs on a model go together, and proposes strengths."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..lora_core import balance_stack
from .base import Node, schema, shown
from .bridge import network_of
from .dry_step import host_dry_step
from .pictures import as_image
from .progress import at_the_node
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .walk import Conditioning, Latent


class LoraBalance(Node):
    """Show which LoRAs of a stack conflict, duplicate or drown each other, and propose strengths for it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="LoRA Balance",
            search_aliases=["lora conflict", "normalize lora strength", "lora strength balance", "too many loras"],
            is_output_node=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model, with the LoRAs that ApplyLoraStack put on it."),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="With the latent: run each expert once, and go by what the LoRAs change in its outputs.",
                ),
                io.Latent.Input(
                    "latent", optional=True, tooltip="An empty latent video, of the size that the run will have."
                ),
            ],
            outputs=[
                io.Image.Output(
                    "conflict_map",
                    display_name="conflict_map",
                    tooltip="Alignment of every two LoRAs, and how much each changes every block of each expert.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="Sizes, conflicts by name, and the proposed strengths."
                ),
                LoraStackType.Output(
                    "stack", display_name="stack", tooltip="All LoRAs with the proposed strengths, to save or apply."
                ),
                WanModelType.Output(
                    "model", display_name="model", tooltip="The model with its LoRAs at the proposed strengths."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model: WanModelHandle, positive: Conditioning | None = None, latent: Latent | None = None
    ) -> io.NodeOutput:
        stepped = host_dry_step(model, positive, latent)
        networks = {expert: network_of(patcher) for expert, patcher in model.experts()}
        balance = balance_stack(model.loaded, networks, stepped=stepped, progress=at_the_node())
        text, picture, proposed = balance.text(), as_image(balance.image()), balance.proposed
        output = ui.PreviewImage(picture, cls=cls).as_dict() | shown(text)
        return io.NodeOutput(picture, text, proposed.stack, model.with_loras(proposed), ui=output)
