"""An opened Wan model: its experts, text encoder and VAE, and for Wan 2.1's image models what looks at the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image
from torch import Tensor

from ..pieces.model import PiecesModel
from .image_encoder import ImageEncoder
from .sources import WanSources


@dataclass(frozen=True, eq=False)
class WanModel(PiecesModel):
    """The networks of one Wan; see `PiecesModel`.

    Attributes:
        image_encoder: None when the model was opened without it, or has no use for it.
    """

    sources: WanSources
    image_encoder: ImageEncoder | None

    pieces: ClassVar[tuple[str, ...]] = (*PiecesModel.pieces, "image_encoder")

    def require(self, *, text: bool = False, vae: bool = False, picture: bool = False) -> None:
        """Raise unless the pieces asked for are there, as far as the model needs them; to be called before work."""
        super().require(text=text, vae=vae)
        if picture and self.spec.image_embeds:
            self._image_encoder()

    def encode_picture(self, picture: Image.Image) -> Tensor:
        """Return the CLIP features (1, 257, 1280) of a picture of any size, float32 on the compute device."""
        with self.lock:
            return self._image_encoder().encode(picture)

    def _image_encoder(self) -> ImageEncoder:
        return self._given(self.image_encoder, "an image encoder", self.sources.image_encoder_expected, "image_encoder")
