"""The line that a study's trials should beat: an n-gram model of the study's text, which a trainer makes with the
study.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.estimators import perplexity


@dataclass(frozen=True)
class Line:
    """The best order's figures on the sentences of a split that the study's trials are judged by."""

    order: int
    nll: float
    """Nats per sentence, exact."""
    ppl: float
    """Perplexity per token, the end token included."""
    sentences: int
    """Number of sentences that the figures are of."""
    of: int
    """Number of sentences in the split."""
    split: str
    counted: int
    """Number of training sentences that the model has read."""
    train: int
    """Number of training sentences."""
    token: str
    """Noun for a token of the text."""

    @classmethod
    def of_study(cls, kept: Mapping[str, Any] | None, split: str, token: str) -> "Line | None":
        """The line that the study keeps; None if it was made before there were any."""
        if kept is None:
            return None
        found = kept[split]
        return cls(
            int(kept["order"]),
            float(found["nll"]),
            float(found["ppl"]),
            int(found["sentences"]),
            int(found["of"]),
            split,
            int(kept["counted"]),
            int(kept["train"]),
            token,
        )

    def is_of(self, estimator: Mapping[str, Any]) -> bool:
        """True if an NLL by that estimator is of the sentences that these figures are of."""
        own = {"sentences": self.sentences, "of": self.of, "split": self.split}
        return all(estimator.get(key) == value for key, value in own.items())

    @property
    def said(self) -> str:
        """The figures in words."""
        part = f", from {self.counted:,} of {self.train:,} training sentences" if self.counted < self.train else ""
        return (
            f"an n-gram model of the same text (order {self.order}, interpolated Kneser–Ney{part}) "
            f"has NLL {self.nll:.2f}, {perplexity(self.token)} {self.ppl:.2f}"
        )
