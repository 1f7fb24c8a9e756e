"""Uses of a trained model in a notebook: codes, arithmetic on them, sentences, likelihoods.

tuner train --technique mdr --set r=4 --out mdr-run
python examples/explore.py mdr-run
"""

import sys

import numpy as np

import tuner


def main(run: str) -> None:
    with tuner.load(run) as model:
        print(model)

        # Greedy sentences from the prior: all their variety comes from the code.
        for sentence in model.sample(5, seed=1):
            print("sample:", sentence)

        # A homotopy: sentences from points on the line between two sentences' codes.
        first, last = model.sample(2, ancestral=True, length=8, seed=2)
        ends = model.encode([first, last])  # [2, d_z], the posteriors' centres
        for share, sentence in zip(np.linspace(0, 1, 5), model.decode(np.linspace(*ends, num=5)), strict=True):
            print(f"{share:.2f}:", sentence)

        # How likely the model finds a text: its words in another order are another sentence.
        text = [first, " ".join(reversed(first.split()))]
        for sentence, log_p in zip(text, model.log_likelihood(text, samples=200), strict=True):
            print(f"log P {log_p:.2f} nats, PPL {np.exp(-log_p / (len(sentence.split()) + 1)):.1f}:", sentence)

        # How far codes of one sentence lie from each other, against those of the prior.
        own = np.concatenate([model.encode(first, centre=False, seed=seed) for seed in range(20)])
        print(
            f"spread of z: {own.std(0).mean():.2f} given the sentence, {model.prior(1000).std(0).mean():.2f} in the prior"
        )


if __name__ == "__main__":
    main(sys.argv[1])
