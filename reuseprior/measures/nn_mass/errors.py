"""What `reuseprior.measures.nn_mass` refuses, and why."""

from reuseprior.errors import UserError


class NNMassError(UserError):
    """An architecture, or a number of a formula, that cannot be; the message says the mend."""


KINDS = {
    "layers on sequences": "is a layer on sequences of vectors",
    "weights from the input": "computes its weight from the input, as attention does",
    "nothing to skip": "no link can skip one",
}
"""Why NN-Mass says nothing of a model, and the words of the message that says so."""


class NotApplicable(NNMassError):
    """A model that NN-Mass says nothing of; the message names the reason, `kind` which it is."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind

    @staticmethod
    def kind_of(message: str) -> str | None:
        """The kind of a message that was recorded, by its words; None for another error's.

        >>> NotApplicable.kind_of("mm in blocks.0 is a layer on sequences of vectors: NN-Mass …")
        'layers on sequences'
        """
        return next((kind for kind, words in KINDS.items() if words in message), None)
