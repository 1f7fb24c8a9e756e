"""Names that a trainer shares with the programs that start it: files, corpora, presets, and an exit code. Data alone.

It is the one module of this package that `tuner` imports.
"""

SPEC, VOCABULARY, MODEL, RESULT = "spec.json", "vocabulary.json", "sentencepiece.model", "result.json"
BEST, LATEST = "best.safetensors", "latest.safetensors"
SAMPLES, SENTENCES, LOG = "samples.json", "sentences.json", "trainer.log"
FILES = (SPEC, VOCABULARY, MODEL, BEST, LATEST, RESULT, SAMPLES, SENTENCES, LOG)
"""Files of a run's folder; `trainer.log` is written by the program that starts the trainer."""
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""Files of a model's folder that left its study, beside its vocabulary: `spec.json` with the figures,
`best.safetensors`, and a model card for its readers.
"""
CORPORA = ("grammar", "questions", "ptb", "kjv")
"""Texts that a trainer knows by name."""
TOKENS = {"words": "word", "characters": "character", "sentencepiece": "piece"}
"""Nouns for a token of a text, by the option `tokens`, of `sentencepiece:N` the part before the colon."""
FORMERLY: dict[str, dict[bool, str]] = {"labels": {True: "last", False: "none"}}
"""Values of options as older programs wrote them, each with its name of today."""
LATENT_SENTENCES = 1000
"""Number of a split's sentences that measures of the codes are of (`trainers.latent_space`)."""
COLLAPSED = 0.2
"""Nats per sentence of rate or mutual information, below which the code says nearly nothing, whatever units are active."""
PREEMPTED = 75
"""Exit code of a trainer that was stopped in order, and goes on from its checkpoint."""
PRESETS: dict[str, dict[str, float | int | str | bool]] = {
    # `paper` is the defaults: PA, tables 5 and 6.
    "paper": {},
    "small": {
        "d_z": 16, "d_e": 128, "d_h": 128, "d_c": 128, "decoder_layers": 1, "dropout": 0.2, "learning_rate": 2e-3,
        "max_epochs": 20, "nll_samples": 100, "nll_sentences": 500,
    },
    "tiny": {
        "d_z": 8, "d_e": 64, "d_h": 64, "d_c": 64, "components": 20, "decoder_layers": 1, "dropout": 0.1, "learning_rate": 4e-3,
        "max_epochs": 12, "nll_samples": 100, "nll_sentences": 500,
    },
    # LI appendix A; sizes and batches are their code's for PTB. What differs from it: docs/papers/li.md.
    "lstm-vae": {
        "cell": "lstm", "d_z": 32, "d_e": 256, "d_h": 256, "decoder_layers": 1, "bidirectional": False, "own_embeddings": True,
        "conditioning": "both", "tied": False, "dropout": 0.5, "dropout_mask": "step", "uniform": 0.01, "truncation": 0.0,
        "optimizer": "sgd", "learning_rate": 0.5, "plateau": 2, "batch_size": 32, "batching": "length", "clip": 5.0,
        "weight_decay": False, "patience": 100,
    },
    # KR §5.1, PTB; what is not said there is lstm-vae's. Their Yahoo: d_e 512, d_h 1024.
    "lstm-vae-kr": {
        "cell": "lstm", "d_z": 32, "d_e": 100, "d_h": 400, "decoder_layers": 1, "bidirectional": False, "own_embeddings": True,
        "conditioning": "both", "initial_tanh": False, "tied": False, "dropout": 0.5, "dropout_mask": "step", "uniform": 0.1,
        "truncation": 0.0, "optimizer": "sgd", "learning_rate": 1.0, "plateau": 1, "plateau_decays": 3, "plateau_reload": False,
        "batch_size": 32, "batching": "length", "clip": 5.0, "weight_decay": False, "max_epochs": 30, "patience": 30,
    },
    # MI §4.2, §5 and appendix A: what is said there; the rest is lstm-vae's.
    "double-lstm": {
        "cell": "double-lstm", "d_z": 32, "d_e": 256, "d_h": 256, "decoder_layers": 1, "bidirectional": False,
        "own_embeddings": True, "conditioning": "both", "tied": False, "dropout": 0.5, "dropout_mask": "step", "uniform": 0.01,
        "truncation": 0.0, "optimizer": "sgd", "learning_rate": 1.0, "decay": 0.96, "polyak": 0.9995, "batch_size": 32,
        "clip": 5.0, "weight_decay": False,
    },
    # MI's own sizes: their decoder has 2048 units (SNLI apart), twice its encoder's. Of the embeddings, 32 dimensions and batches
    # they say nothing, so they are those of the models that they build on (LI table 9, Yahoo); of their four step sizes, 1.
    "double-lstm-mi": {
        "cell": "double-lstm", "d_z": 32, "d_e": 512, "d_h": 2048, "d_h_encoder": 1024, "decoder_layers": 1,
        "bidirectional": False, "own_embeddings": True, "conditioning": "both", "tied": False, "dropout": 0.5,
        "dropout_mask": "step", "uniform": 0.01, "truncation": 0.0, "optimizer": "sgd", "learning_rate": 1.0, "decay": 0.96,
        "polyak": 0.9995, "batch_size": 32, "clip": 5.0, "weight_decay": False,
    },
    # LV §4.2, PTB with 16 dimensions; there also d_z 128 and 512.
    "svae": {
        "d_z": 16, "d_e": 300, "d_h": 512, "decoder_layers": 1, "bidirectional": False, "reversed": True, "detached": False,
        "conditioning": "every-step", "tied": False, "dropout": 0.5, "dropout_mask": "step", "dropout_at": "inputs",
        "truncation": 0.0, "plateau": 2, "plateau_factor": 0.25, "plateau_reload": False, "batch_size": 20, "clip": 5.0,
        "weight_decay": False, "patience": 100,
    },
    # as many parameters as `paper` and `small` have with a code, on 10,000 words
    "transformer-paper": {"cell": "transformer", "decoder_layers": 3, "encoder_layers": 1, "d_f": 200},
    "transformer-small": {
        "cell": "transformer", "d_z": 16, "d_e": 128, "d_h": 128, "d_c": 128, "decoder_layers": 2, "encoder_layers": 1, "d_f": 88,
        "dropout": 0.2, "learning_rate": 2e-3, "max_epochs": 20, "nll_samples": 100, "nll_sentences": 500,
    },
}  # fmt: skip
"""Models by size or paper, each with the options whose defaults it changes."""
