"""A predictor made of another: the same model and the same contract, with something done to the answers."""

import os
from typing import Any

from .._base import InputError
from ..predictor import OutputSpec, Predictor, Signature


class Derived(Predictor):
    """What the predictors of this module share.

    It calls the same backend as the predictor that it was made of, without a detour: one row takes the quick way, and
    a ledger finds the model's hash and size where it looks for them.
    """

    predictor: Predictor

    def _derive(
        self,
        base: Predictor,
        *,
        name: str,
        postprocess: Any = None,
        outputs: tuple[OutputSpec, ...] | None = None,
    ) -> None:
        """Become a predictor over the backend of `base`, with other steps after it."""
        super().__init__(
            base.backend,
            preprocess=base.preprocess,
            postprocess=base.postprocess if postprocess is None else postprocess,
            signature=base.signature if outputs is None else Signature(base.signature.input, outputs),
            name=name,
        )

    def __repr__(self) -> str:
        return super().__repr__().replace("Predictor", type(self).__name__, 1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Refuse: a file of a predictor has no place for what this one knows besides its model.

        Raises
        ------
        InputError
            Always. The predictor that it was made of can be saved: ``.predictor.save(path)``.
        """
        raise InputError(
            f"a {type(self).__name__} cannot be saved; save the predictor that it was made of "
            "(it is the attribute predictor or predictors), and make this one anew from the same rows"
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, sha256: str | None = None) -> Predictor:
        """Open a file that `Predictor.save` wrote. See `Predictor.load`."""
        return Predictor.load(path, sha256=sha256)


class NotFitted:
    """A step that stands where the fitted one will stand, and says what is missing."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, _: Any) -> Any:
        """Raise."""
        raise InputError(f"this {self.what} knows nothing yet; call fit(X, y) with rows that the model never saw")
