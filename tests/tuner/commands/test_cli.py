"""The commands as a user runs them, with real training: a study from its launch on in real processes, the rest in this one."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shell import QUICK, figures, launch, run

Inside = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_winner_is_confirmed_and_printed_as_the_papers_table(inside: Inside, tmp_path: Path) -> None:
    inside(*launch())
    quick = ("--set", "nll_samples=3", "--set", "nll_sentences=40")
    found = json.loads(inside("confirm", "s", "--seeds", "2", *quick, "--set", "certify=1", "--json").stdout)
    (valid,), (test,) = found["valid"], found["test"]
    assert (valid["runs"], test["runs"], valid["confirmed"]) == (2, 2, True)
    assert valid["figures"]["nll"]["sd"] > 0
    assert valid["figures"]["nll"]["mean"] != test["figures"]["nll"]["mean"]
    assert "S = 3 from q, 40 of" in test["estimator"]
    table = inside("report", "--split", "test", "--format", "latex", "--published").stdout
    assert r"sfb (" in table
    assert r"\toprule" in table
    for name in ("front.svg", "front.png", "front.json"):
        inside("pareto", "s", "--out", name)
        assert (tmp_path / name).stat().st_size > 300
    (front,) = json.loads((tmp_path / "front.json").read_text())["studies"]
    assert front["study"] == "s"
    assert "s/" in inside("pareto").stdout
    assert "is no kind of file" in inside("pareto", "--out", "front.gif", code=2).stderr
    assert "--format 'word' is unknown" in inside("report", "--format", "word", code=2).stderr


def test_a_study_from_nothing_to_its_exports(inside: Inside, tmp_path: Path) -> None:
    whole = ("--set", "corpus_size=1000")  # no word unknown, so that the entropy is known
    study = json.loads(run(*launch(*whole, "--json"), cwd=tmp_path).stdout)
    assert {"name", "technique", "corpus", "sampler", "trials", "best"} <= set(study)
    assert [t["state"] for t in study["trials"]] == ["complete", "complete"]
    best = study["best"]
    assert best["value"] == min(t["value"] for t in study["trials"])
    assert best["metrics"]["estimator"]["samples"] == 3
    assert abs(study["entropy"] - 15) < 0.1

    again = inside(*launch(*whole))
    assert "2 of 2 trials done" in again.stderr
    assert "tuner confirm s " in again.stdout
    assert "exact entropy" in again.stdout

    assert json.loads(inside("studies", "--json").stdout)[0]["name"] == "s"
    assert "2/2" in inside("studies").stdout
    assert json.loads(inside("show", "s", "--json").stdout)["trials"] == study["trials"]
    assert "S = 3 from q" in run("show", "s", cwd=tmp_path).stdout
    assert json.loads(inside("trials", "s", "--json").stdout) == study["trials"]
    rows = list(csv.DictReader(io.StringIO(inside("export", "s", "--format", "csv").stdout)))
    assert [float(row["value"]) for row in rows] == [t["value"] for t in study["trials"]]
    assert [float(row["params.r"]) for row in rows] == [t["params"]["r"] for t in study["trials"]]
    assert {"rate", "collapsed", "estimator.samples"} <= set(rows[0])
    inside("export", "s", "--format", "json", "--out", "s.json")
    exported = json.loads((tmp_path / "s.json").read_text())
    assert exported | {"revision": 0} == study | {"revision": 0}  # which the second launch has counted

    evaluated = json.loads(inside("evaluate", best["run"], "--json").stdout)
    assert evaluated["metrics"] == best["metrics"]
    more = inside("evaluate", best["run"], "--set", "nll_samples=7", "--seed", "5", "--json")
    assert json.loads(more.stdout)["metrics"]["estimator"]["seed"] == 5
    assert json.loads(more.stdout)["metrics"]["estimator"]["samples"] == 7

    best_run = best["run"]
    sampled = run("sample", best_run, "--count", "3", "--ancestral", "--length", "6", cwd=tmp_path)
    assert len(sampled.stdout.splitlines()) == 3
    assert all(len(line.split()) <= 6 for line in sampled.stdout.splitlines())
    again = inside("sample", best_run, "--count", "3", "--ancestral", "--length", "6", "--json")
    assert [e["sentence"] for e in json.loads(again.stdout)["sentences"]] == sampled.stdout.splitlines()
    assert "from: " in inside("sample", best_run, "--posterior", "--count", "2").stdout
    word = sampled.stdout.split()[0]
    odd = inside("reconstruct", best_run, f"{word} qwerty")
    assert "note: not in the vocabulary, read as <unk>: qwerty" in odd.stderr
    assert "TER " in odd.stdout
    assert len(json.loads(inside("reconstruct", best_run, "-n", "2", "--json").stdout)["sentences"]) == 2
    between = inside("interpolate", best_run, word, f"{word} {word}", "--count", "4")
    assert len(between.stdout.splitlines()) == 6
    assert "novelty: mean TER" in inside("neighbours", best_run, "--count", "2").stdout
    assert "the sentence is empty" in inside("reconstruct", best_run, "", code=2).stderr
    assert "is no folder and no STUDY/NUMBER" in inside("sample", "nothing", code=2).stderr


def test_train_prints_its_run_and_answers_again_at_once(inside: Inside, tmp_path: Path) -> None:
    settings = [part for key in (*QUICK, "max_epochs=2", "r=2") for part in ("--set", key)]
    arguments = ["train", "--technique", "fb", *settings, "--json"]
    result = json.loads(inside(*arguments).stdout)
    assert {"run", "technique", "params", "metrics", "epochs", "tokens_per_second", "checkpoint"} <= set(result)
    assert (tmp_path / result["checkpoint"]).is_file()
    assert json.loads(inside(*arguments).stdout) == result
    shown = inside("evaluate", result["run"]).stdout
    assert "R = KL" in shown


def test_a_collapsed_posterior_is_named_in_every_output(inside: Inside, tmp_path: Path) -> None:
    settings = [part for key in (*QUICK, "max_epochs=1") for part in ("--set", key)]
    said = inside("launch", "--technique", "vanilla", "--study", "v", "--trials", "1", *settings)
    assert "nothing is left to tune for vanilla" in said.stderr
    outputs = [said.stdout, said.stderr]
    outputs += [inside(*c).stdout for c in (["show", "v"], ["trials", "v"], ["studies"], ["evaluate", "v/0"])]
    (tmp_path / "v.toml").write_text(inside("show", "v", "--format", "toml").stdout)
    alone = inside("train", "--config", str(tmp_path / "v.toml"))
    assert (
        "note: trials, first_default of the file are a study's, and are left out: a single run has none" in alone.stderr
    )
    outputs.append(alone.stdout)
    outputs = [" ".join(text.split()) for text in outputs]  # a narrow terminal wraps
    assert all("collapsed" in text for text in outputs)
    assert all(
        "Try a technique that holds a rate" in text
        for text in (outputs[0], outputs[2], outputs[3], outputs[5], outputs[6])
    )
    assert "True" in inside("export", "v").stdout


def test_own_text_and_own_search_space(inside: Inside, tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for split, lines in (("train", 40), ("valid", 10), ("test", 10)):
        (folder / f"{split}.txt").write_text("the cat sees a dog\na dog sees the cat again\n" * lines)
    (tmp_path / "own.toml").write_text(
        'technique = "beta"\n[parameters.beta]\ntype = "float"\nlow = 0.01\nhigh = 0.02\n'
        '[parameters.d_z]\ntype = "int"\nlow = 2\nhigh = 4\n'
    )
    study = json.loads(
        inside(
            *("launch", "-t", "beta", "-c", str(folder), "--space", "own.toml", "-n", "2", "--sampler", "random"),
            *("--set", "max_epochs=1", "--set", "nll_samples=2", "--json"),
        ).stdout
    )
    assert study["name"] == "beta-text-tiny"
    assert study["corpus"] == str(folder)
    for trial in study["trials"]:
        assert 0.01 <= trial["params"]["beta"] <= 0.02
        assert trial["params"]["d_z"] in (2, 3, 4)
    described = json.loads(inside("corpora", str(folder), "--json").stdout)
    assert described["sentences"] == {"train": 80, "valid": 20, "test": 20}


def test_lists(inside: Inside) -> None:
    shown = inside("techniques").stdout
    assert "D + max(r, R)" in shown
    assert "paper 6.467" in shown
    assert {s["technique"] for s in json.loads(inside("techniques", "--json").stdout)} >= {"sfb", "mdr"}
    assert "set PTB_DIR" in inside("corpora").stdout
    described = inside("corpora", "grammar").stdout
    assert "entropy" in described
    assert "in training text valid 11 (1.1%)  test 18 (1.8%)" in described
    assert (
        "order 4  valid NLL 19.04 PPL 10.48 bits/char 0.707   test NLL 18.96 PPL 10.46 bits/char 0.707   best on valid"
        in described
    )


BAD: dict[str, tuple[list[str], str]] = {
    "technique": (["launch", "-t", "sbf"], "technique 'sbf' is unknown: choose one of adversarial-word-dropout"),
    "technique, not named": (["train"], "train needs --technique NAME: `tuner techniques` lists them"),
    "technique to train": (["train", "-t", "sbf"], "technique 'sbf' is unknown"),
    "pruner": (["launch", "-t", "sfb", "--pruner", "x"], "--pruner 'x' is not allowed: it must be one of none; median"),
    "stop-when": (
        ["launch", "-t", "sfb", "--sampler", "tpe", "--stop-when", "1"],
        "--stop-when 1 needs a sampler that knows",
    ),
    "objectives": (
        ["launch", "-t", "sfb", "--objectives", "x"],
        "--objectives 'x' is not allowed: it must be one of nll; nll,rate; melbo",
    ),
    "objectives cmaes": (
        ["launch", "-t", "sfb", "--objectives", "nll,rate", "--sampler", "cmaes"],
        "--sampler cmaes has one objective only",
    ),
    "min-rate cmaes": (
        ["launch", "-t", "sfb", "--min-rate", "1", "--sampler", "cmaes"],
        "--sampler cmaes cannot keep a least rate",
    ),
    "pruner of stages": (
        ["launch", "-t", "pretrained-fb", "--pruner", "median"],
        "--pruner median is not allowed for pretrained-fb, which trains in 2 stages",
    ),
    "min-rate": (["launch", "-t", "rnnlm", "--min-rate", "1"], "--min-rate 1.0 is not allowed for rnnlm"),
    "sampler option": (
        ["launch", "-t", "sfb", "--sampler-option", "n=3"],
        "sampler 'gp-mcmc' has no option 'n': it has",
    ),
    "sampler": (
        ["launch", "-t", "sfb", "--sampler", "x"],
        "sampler 'x' is unknown: choose one of gp-mcmc, gp-map, botorch-mcmc",
    ),
    "preset": (
        ["launch", "-t", "sfb", "-m", "huge"],
        "--model 'huge' is not allowed: it must be one of paper; small; tiny; lstm-vae",
    ),
    "missing corpus": (["launch", "-t", "sfb", "-c", "nowhere"], "nowhere' does not exist"),
    "empty corpus": (["launch", "-t", "sfb", "-c", "empty"], "has no file train.txt"),
    "empty file": (["launch", "-t", "sfb", "-c", "blank"], "holds no sentence"),
    "ptb unset": (["launch", "-t", "sfb", "-c", "ptb"], "PTB_DIR"),
    "domain": (["launch", "-t", "sfb", "--set", "r=500"], "r = 500 is out of sfb's domain: r must be 1 to 30"),
    "domain to train": (["train", "-t", "sfb", "--set", "r=-1"], "r = -1 is not allowed: r must be a number above 0"),
    "rule": (
        ["train", "-t", "sfb", "--set", "dropout=2"],
        "dropout = 2 is not allowed: dropout must be a number from 0",
    ),
    "key": (["launch", "-t", "sfb", "--set", "x=1"], "'x' is neither a hyperparameter of sfb"),
    "no value": (["launch", "-t", "sfb", "--set", "r"], "--set 'r' is not key=value"),
    "trials": (["launch", "-t", "sfb", "-n", "0"], "0 is not in the range 1<=x<=100000"),
    "name": (["launch", "-t", "sfb", "--study", "a/b"], "--study 'a/b' is not allowed"),
    "no name": (["launch", "-t", "sfb", "--study", ""], "--study '' is no name: give one, or leave it out"),
    "no name here": (["import", "x.zip", "--study", ""], "--study '' is no name: give one, or leave it out"),
    "bundle's folder": (["import", "empty"], "bundle empty is a folder: name the file that"),
    "bundle's format": (["export", "x", "--bundle", "x.zip", "--format", "csv"], "--format is for a table"),
    "run's file": (["train", "-t", "mdr", "--out", "made.db"], "--out made.db is a file: name a folder"),
    "space": (["launch", "-t", "sfb", "--space", "no.toml"], "no.toml cannot be read"),
    "database": (["studies"], "there is no database at sqlite:///"),
    "study": (["show", "x", "--database", "sqlite:///made.db"], "study 'x' is not in"),
    "run": (["evaluate", "x"], "run 'x' is no folder and no STUDY/NUMBER"),
    "empty run": (["evaluate", "empty"], "holds no run"),
    "format": (["export", "x", "--format", "xml"], "--format 'xml' is unknown"),
    "engine": (["launch", "-t", "sfb", "--engine", "slurm"], "--engine 'slurm' is unknown: choose one of local or ray"),
    "timeout": (
        ["launch", "-t", "sfb", "--timeout", "soon"],
        "--timeout 'soon' is no duration up to 1,000,000,000 s: write e.g. 90s, 30m",
    ),
    "no gpu": (["worker", "--workers-per-gpu", "2", "--database", "sqlite:///made.db"], "there is none here"),
    "no workers": (["worker", "--workers", "0", "--database", "sqlite:///made.db"], "--workers 0 would do nothing"),
    "log format": (["worker", "--log-format", "xml"], "--log-format 'xml' is unknown: choose text or json"),
    "worker's study": (["worker", "--study", "x", "--database", "sqlite:///made.db"], "study 'x' is not in"),
    "artifacts": (["launch", "-t", "sfb", "--artifacts", "x3://b"], "artifacts 'x3://b' cannot be used"),
    "useless json": (["show", "x", "--format", "toml", "--json"], "--json is for --format table: leave it out"),
    "useless columns": (
        ["trials", "x", "--columns", "z", "--json"],
        "--columns is for a table, and --json gives every",
    ),
    "useless sort": (["trials", "--fail", "x/1", "--because", "y", "--sort", "r"], "--sort is for a list of trials"),
    "useless weights": (["export", "x", "--weights", "best"], "--weights is for --bundle: leave it out"),
    "useless out": (["export", "x", "--bundle", "f", "--out", "g"], "--out is for a table"),
    "useless print": (["dropped", "x", "--by", "tag", "--out", "f.svg", "--json"], "--json is for what is printed"),
    "two places": (["studies", "--database", "sqlite:///made.db", "--api", "http://a"], "--api and --database exclude"),
    "command": (["lanch"], "No such command 'lanch'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_sentence_and_code_2(case: str, inside: Inside, tmp_path: Path) -> None:
    from tuner.storage.database import Database

    (tmp_path / "empty").mkdir()
    (tmp_path / "blank").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "blank" / f"{split}.txt").write_text("\n")
    Database(f"sqlite:///{tmp_path}/made.db", create=True).close()
    arguments, message = BAD[case]
    done = inside(*arguments, code=2)
    assert message in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("runs/**/*.safetensors"))
    assert not (tmp_path / "tuner.db").exists()


def test_a_database_that_cannot_be_made_ends_with_code_1(inside: Inside) -> None:
    done = inside(*launch("--database", "sqlite:////proc/no/t.db"), code=1)
    assert "tuner: database sqlite:////proc/no/t.db cannot be used" in done.stderr


def test_the_database_is_prepared_by_its_command(inside: Inside) -> None:
    assert "has schema" in inside("database", "upgrade").stderr
    assert json.loads(inside("studies", "--json").stdout) == []


def test_out_of_memory_is_named_and_the_study_goes_on(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'technique = "vanilla"\n[parameters.d_h]\ntype = "categorical"\nchoices = [30000, 40000]\n'
    )
    settings = [part for key in QUICK[:3] for part in ("--set", key)]
    arguments = [
        "launch",
        "-t",
        "vanilla",
        "--space",
        "own.toml",
        "-n",
        "2",
        "--sampler",
        "random",
        "--trainer-memory",
        "3",
        *settings,
        "--json",
    ]
    study = json.loads(inside(*arguments, code=1).stdout)
    assert [(t["state"], t["reason"]) for t in study["trials"]] == [("failed", "oom")] * 2
    assert "a smaller batch_size, d_h or rows needs less" in study["trials"][0]["message"]
    assert study["best"] is None


def test_what_codes_are_worth_and_which_words_an_adversary_hides(inside: Inside, tmp_path: Path) -> None:
    place = str(tmp_path / "r")
    settings = [part for key in (*QUICK, "max_epochs=1", "rate=0.5") for part in ("--set", key)]
    inside("train", "-t", "adversarial-word-dropout", *settings, "--out", place)
    measured = inside("latent", place, "--set", "sentences=50", "--set", "pairs=100", "--set", "labelled=0,20")
    for figure in ("bleu_1", "noisy 4", "smoothness", "entropy", "probe 0", "probe 20"):
        assert figure in measured.stdout
    assert "'swap' is no option here" in inside("latent", place, "--set", "swap=1", code=2).stderr
    shown = inside("dropped", place, "the ship follows the ship").stdout.split()
    assert shown[::2] == ["the", "ship", "follows", "the", "ship"]
    assert sum(map(float, shown[1::2])) == pytest.approx(3, abs=0.03)  # half of 6 tokens
    found = json.loads(inside("dropped", place, "--count", "2", "--json").stdout)
    assert len(found["sentences"]) == 2
    assert len(inside("interpolate", place, "-n", "3").stdout.splitlines()) == 3
    assert inside("interpolate", place, "-n", "3", "--posterior").stdout.startswith("[")
    inside("reconstruct", place, "-n", "1", "--spread", "10")


def test_words_likely_hidden_are_redder(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.commands import render

    words = [{"word": word, "probability": share} for word, share in (("a", 0.0), ("b", 0.5), ("c", 1.0))]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    line = render.dropped_line(words)
    assert line.plain == "a b c"
    assert [str(span.style) for span in line.spans] == ["black on #ff8080", "black on #ff0000"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that others lack")
def test_a_laptop_makes_a_study_for_the_gpus_of_others(inside: Inside) -> None:
    assert "is a GPU's" in inside(*launch("--set", "precision=tf32"), code=2).stderr
    said = inside(*launch("--set", "precision=tf32", "--workers", "0")).stderr
    assert "this machine cannot train it; workers that can are waited for: precision = 'tf32' is a GPU's" in said
    assert "PyTorch sees no GPU" in inside(*launch("--set", "device=cuda", "--study", "t"), code=2).stderr


def test_two_fresh_databases_run_one_bundle_to_the_same_figures(inside: Inside, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("made", "one", "two")]
    for place in places:
        place.mkdir()
    inside(*launch("--workers", "0", "--trials", "1"), cwd=places[0])
    assert "wrote s.zip" in inside("export", "s", "--bundle", "s.zip", cwd=places[0]).stderr
    found = []
    for place in places[1:]:
        assert "0 of 1 trials done" in inside("import", "../made/s.zip", cwd=place).stderr
        inside("resume", "s", cwd=place)
        found.append(json.loads(inside("show", "s", "--json", cwd=place).stdout))
    assert figures(found[0]) == figures(found[1])
    again = json.loads(inside("reproduce", "s/0", "--json", cwd=places[1]).stdout)
    assert (again["agrees"], again["exact"]) == (True, True)
    assert again["figures"]["nll"]["now"] == found[1]["best"]["metrics"]["nll"]
    assert "is no bundle" in inside("import", "tuner.db", cwd=places[1], code=2).stderr
