"""The mathematics of one weight change, of every kind that files hold.

Every delta is linear in the user's strength: the layer computes with `W + sum(strength_i * delta_i)`, each delta_i
taken against the untouched base W, so a stack does not depend on its order.
"""

from .additive import Delta, Full, LoHa, LoKr, Lora, fits
from .of_base import Boft, Dora, GLora, Oft, Replacement
from .placed import Placed
from .stacked import Stacked, stacked
from .thin import stored_factors, thin_factors

__all__ = [
    "Boft",
    "Delta",
    "Dora",
    "Full",
    "GLora",
    "LoHa",
    "LoKr",
    "Lora",
    "Oft",
    "Placed",
    "Replacement",
    "Stacked",
    "fits",
    "stacked",
    "stored_factors",
    "thin_factors",
]
