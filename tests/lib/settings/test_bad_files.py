# a table
"""A table of settings that cannot be used: each is told in words, with its line, in one go and without much work."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from stages import plan
from stages.lib.settings.checks import NUM_NAMED, name_some
from stages.lib.settings.machine import Machine
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.yaml_text import TextError, decode
from tests.fuzz_params import fuzz
from tests.memory import run_measured
from tests.test_plan import read, replace

HUGE = "9" * 30
BITS = "0x" + "f" * 5000  # a number that Python does not write out
TABLE = "kind: table, file: data/source/thoracic_surgery.csv"
MIXED = "regularizers: [mixup], loss: categorical_crossentropy"

# What stands in tests/params.yaml -> what is put in its place -> what is told of that.
EDITS: dict[str, dict[str, str]] = {
    # numbers
    "seed: 3": {
        "seed: 4294967296": "seed: is 4294967296, expected a number of at most 4,294,967,295",
        "seed: -1": "seed: is -1, expected a number of at least 0",
        "seed: 3.0": "seed: is 3.0, expected a whole number",
        "seed: three": "seed: is 'three', expected a whole number",
        f"seed: {HUGE}": "seed: is a number of 100 bits, expected a number of at most 4,294,967,295",
        f"seed: {BITS}": "seed: is a number of 20000 bits",
        f"seed: [{BITS}]": "seed: is [a number of 20000 bits], expected a whole number",
        f"seed: {'9' * 5000}": "holds a value that is none",
        "seed: null": "seed: is None, expected a whole number",
        "seed: true": "seed: is True, expected a whole number",
        "seed: 2020-13-45": "holds a value that is none (month must be in 1..12)",
        "seed: 2020-01-01": "seed: is datetime.date(2020, 1, 1), expected a whole number",
        "seeed: 3": "seed: is missing, expected a value: add it",
        # text that is no YAML, or more than is read
        "seed: [3": "is not YAML (while parsing a flow sequence",
        "\tseed: 3": "is not YAML (while scanning for the next token, found character that cannot start any token)",
        "seed: 3\nseed: 4": "is not YAML (while constructing a mapping, found duplicate key",
        "seed: 3\n<<<<<<< HEAD": "holds a conflict marker of git (<<<<<<<), expected none: choose one side",
        "seed: &a [*a]": "has more than 20,000 values (aliases written out), expected at most that: shorten it",
        "seed: *nobody": "is not YAML (found undefined alias",
        f"seed: {'[' * 3000}": "is nested more than 24 levels deep, expected fewer: remove brackets",
        "seed: !!python/object/apply:os.system ['true']": "has the tag 'tag:yaml.org,2002:python/",
        "seed: !mine 3": "has the tag '!mine', expected none: remove it",
        "seed: \x07": "is not YAML (a character that it does not take",
        "seed: '\ud800'": "is not YAML (",
        "seed: 3\n---\nseed: 4": "is not YAML (expected a single document",
        'seed: "3': "is not YAML",
        # keys
        'seed: 3\n"a\\nerror: x\\e[2J": 1': "'a\\nerror: x\\x1b[2J': is not a known key",
        f"seed: 3\n{'k' * 90}: 1": f"{'k' * 77}...: is not a known key, expected one that params.yaml came with: remo",
        "seed: 3\n? [a, b]\n: 1": "('a', 'b'): is ('a', 'b'), expected text",
        f"seed: 3\n? [a, {BITS}]\n: 1": "is ('a', a number of 20000 bits), expected text",
        f"? {BITS}\n: 3": "is a number of 20000 bits, expected text",
        "seed: 3\n? {a: b}\n: 1": "is not YAML (while constructing a mapping, found unhashable key)",
    },
    "hidden: [128]": {
        "hidden: [1000000000]": "hidden.0: is 1000000000, expected a number of at most 16,384",
        "hidden: [0]": "hidden.0: is 0, expected a number of at least 1",
        "hidden: 128": "studies.fashion_small.network.hidden: is 128, expected a list",
        f"hidden: [{'4, ' * 40}]": "hidden: has 40 entries, expected at most 32: remove some",
    },
    "epochs: 1\n": {
        "epochs: 100001\n": "tutorial.tutorial_fashion.training.epochs: is 100001, expected a number of at most 100,00",
        "epochs: 0\n": "epochs: is 0, expected a number of at least 1",
        "epochs:\n": "tutorial.tutorial_fashion.training: has epochs and steps, or neither, expected one of the two",
        "\n": "training: has epochs and steps, or neither, expected one of the two: leave one",
        "epochs: 1\n      steps: 9\n": "training: has epochs and steps, or neither, expected one of the two",
        "steps: 0\n": "training.steps: is 0, expected a number of at least 1",
    },
    "batch_size: 30": {
        "batch_size: 0": "batch_size: is 0, expected a number of at least 1",
        "batch_size: true": "batch_size: is True, expected a whole number",
        f"batch_size: {HUGE}": "expected a number of at most 10,000,000",
    },
    "learning_rate: 0.001": {
        "learning_rate: 0": "learning_rate: is 0, expected a number greater than 0",
        "learning_rate: 1e300": "learning_rate: is 1e+300, expected a number of at most 1,000,000,000",
        "learning_rate: .nan": "learning_rate: is nan, expected a finite number",
        "learning_rate: '0.001'": "learning_rate: is '0.001', expected a number",
    },
    "start_from_epoch: 0": {"start_from_epoch: 1000000": "expected a number of at most 100,000"},
    "    patience: 10 ": {
        "    patience: -1 ": "reduce_lr_on_plateau.patience: is -1, expected a number of at least",
        "    patience: 1.5 ": "patience: is 1.5, expected a whole number",
    },
    "cooldown: 0": {"cooldown: 99999999": "cooldown: is 99999999, expected a number of at most 100,000"},
    "factor: 0.1": {"factor: 1": "factor: is 1, expected a number less than 1"},
    "min_lr: 0": {"min_lr: -1": "min_lr: is -1, expected a number of at least 0"},
    "min_delta: 0.0001": {"min_delta: 1e99": "min_delta: is 1e+99, expected a number of at most 1,000,000,000"},
    "restore_best: true": {"restore_best: yes": "restore_best: is 'yes', expected true or false"},
    "save_best_only: true": {"save_best_only: 1": "save_best_only: is 1, expected true or false"},
    "    monitor: val_loss       # loss": {
        "    monitor: loss_val  # loss": "monitor: is 'loss_val', expected one of loss, val_loss",
        "    monitor: [val_loss]  # loss": "monitor: is ['val_loss'], expected text",
        "    monitor: val_auc  # loss": "own_variants.softmax: uses early_stopping, and callbacks.early_stopping."
        "monitor is val_auc, expected loss, val_loss or val_accuracy for fashion_mnist: change it",
    },
    "callbacks:  ": {"callback:  ": "callbacks: is missing"},
    # protocols
    "folds: 5, repeats: 10, validation: 0.2": {
        "folds: 5, repeats: 10000000, validation: 0.2": "repeats: is 10000000, expected a number of at most 1,000",
        "folds: 5, repeats: 0, validation: 0.2": "repeats: is 0, expected a number of at least 1",
        "folds: 5, repeats: 10, validation: 0": "validation: is 0, expected a number greater than 0",
        "folds: 5, repeats: 10, validation: 1e-300": "protocol.validation is 1e-300, expected a share that puts at lea",
        "folds: 5, repeats: 10": "studies.thoracic.protocol.validation: is missing",
        "folds: 5, repeats: 10, validation: 0.2, seeds: 3": "protocol.seeds: is not a known key",
        "folds: 1, repeats: 10, validation: 0.2": "studies.thoracic.protocol.folds: is 1, expected a number of at leas",
        "folds: 1001, repeats: 10, validation: 0.2": "folds: is 1001, expected a number of at most 1,000",
        "folds: 70, repeats: 1000, validation: 0.2": "has 70 folds x 1000 repeats, expected at most 5,000",
        "folds: 71, repeats: 10, validation: 0.2": "folds is 71, expected at most 70, which is the number of rows of "
        "the rarest class",
    },
    "kind: fixed_test, seeds: 10": {
        "kind: fixed_test, seeds: 1000000": "seeds: is 1000000, expected a number of at most 10,000",
        "kind: fixed_test, seeds: 1": "seeds: is 1, expected a number of at least 2",
        "kind: fixed_test, seeds: 10, test: 0.2": "protocol.test is 0.2, expected no such key",
        "seeds: 10": "studies.fashion_small.protocol: is {'seeds': 10, 'training': 2000, 'validation': 0.2}, expected "
        "a mapping with a kind",
        "kind: [fixed_test], seeds: 10": "expected a kind among",
        "kind: fixed, seeds: 10": "a kind among 'repeated_stratified_k_fold', 'fixed_test'",
    },
    "training: 2000": {
        "training: 0": "training: is 0, expected a number of at least 1",
        "training: 99999999": "training: is 99999999, expected a number of at most 10,000,000",
        "training: 60000": "makes 75000 rows, expected at most 59990",
        "training: 20": "protocol.validation is 0.2, expected a share that puts",
    },
    "protocol: {kind: fixed_test, seeds: 5, validation: 0.05}": {
        "protocol: 5": "studies.fashion.protocol: is 5, expected a mapping",
    },
    # knobs and strengths
    "l1: 0.001": {
        "l1: 1e300": "l1: is 1e+300, expected a number of at most 1,000,000,000",
        "l1: .inf": "l1: is inf, expected a finite number",
        "l1: off": "l1: is 'off', expected a number: change it",
        "11: 0.001": "l1: is missing",
    },
    "\ndropout: 0.5": {"\ndropout: 1": "dropout: is 1, expected a number less than 1"},
    "batch_norm: 0.99": {"batch_norm: 1.0": "batch_norm: is 1.0, expected a number less than 1"},
    "max_norm: 2.0": {"max_norm: 0": "max_norm: is 0, expected a number of at least 1e-06"},
    "\nearly_stopping: 10": {"\nearly_stopping: 1.5": "early_stopping: is 1.5, expected a whole number"},
    "strengths: {dropout: 0.1}": {
        "strengths: {dropout: 1.5}": "studies.fashion.variants.dropout: strengths.dropout holds 1.5, expected a number",
        "strengths: {l2: 0.1}": "strengths names l2, expected one of the variant's regularizers ['dropout']: add it",
        "strengths: [dropout]": "strengths: is ['dropout'], expected a mapping",
        "epochs: 9": "differs from its baseline unregularized in its regularizers and in epochs, expected one of the "
        "two, so that a difference has one cause: name a baseline with the same settings",
    },
    # a variant of one study
    "regularizers: [l2, activity_l1]}": {
        "regularizers: [l2, l2]}": "own_variants.l2_activity_l1: regularizers names one twice, expected each at most o",
        "regularizers: [l3]}": "regularizers.0: is 'l3', expected one of l1, l2",
        "regularizers: l2}": "regularizers: is 'l2', expected a list",
        "regularizer: [l2]}": "regularizer: is not a known key",
        "regularizers: [l2, max_norm], path: [1]}": "path goes with 2 regularizers, expected exactly one",
        "regularizers: [dropout], path: [1.5]}": "path holds 1.5, expected a number of at least 0 and less than 1 for",
        "regularizers: [early_stopping], path: [1.5]}": "path holds 1.5, expected a whole number of at least 0 and at "
        "most 100,000 for early_stopping: change it",
        "regularizers: [early_stopping], path: [100001]}": "path holds 100001.0, expected a whole number",
        "regularizers: [l2], path: [1e300]}": "path holds 1e+300, expected a number of at least 0 and at most 1,000,00",
        "regularizers: [l2], path: [.nan]}": "path.0: is nan, expected a finite number",
        "regularizers: [l2], path: [0.2, 0.2]}": "path: is [0.2, 0.2], expected each entry at most once: remove the",
        "regularizers: [l2], path: 0.1}": "path: is 0.1, expected a list",
        f"regularizers: [l2], path: {list(range(101))}}}": "path: has 101 entries, expected at most 100",
        "regularizers: [mixup]}": "mixup goes with sparse_categorical_crossentropy, whose target is one class number, "
        "expected a loss with one target per class: choose categorical_crossentropy",
        f"{MIXED}, layers: {{mixup: [1]}}}}": "layers.mixup is set, expected no such entry, as it acts on no single la",
        "regularizers: [dropout], hidden: []}": "dropout acts on layers [], expected some of [] of a network with 0 hi",
        "regularizers: [l2], layers: {l2: [9]}}": "l2 acts on layers [9], expected some of [1, 2] of a network with 1",
        "regularizers: [l2], activation: rellu}": "activation: is 'rellu', expected 'linear', 'relu'",
        "regularizers: [l2], optimizer: adm}": "optimizer: is 'adm', expected 'sgd', 'rmsprop', 'adam' or 'adamw'",
        "regularizers: [l2], momentum: 1}": "momentum: is 1, expected a number less than 1",
        "regularizers: [l2], callbacks: [early_stopping]}": "callbacks.0: is 'early_stopping', expected 'checkpoint'",
        "regularizers: [l2], baseline: Me}": "baseline: is 'Me', expected a name of small letters",
        "regularizers: [l2], ? [a, b] : 1}": "is ('a', 'b'), expected text for every key",
    },
    "loss: poisson": {
        "loss: poison": "own_variants.poisson.loss: is 'poison', expected one of mean_squared_error",
        "loss: [poisson]": "loss: is ['poisson'], expected text",
        "loss: categorical_crossentropy": "own_variants.poisson: loss is categorical_crossentropy, expected one that "
        "is defined for the single output of thoracic_surgery: choose binary_crossentropy",
    },
    "layers: {dropout: [1]}": {
        "layers: {dropout: [3]}": "own_variants.poisson: dropout acts on layers [3], expected some of [1, 2]",
    },
    # names
    "poisson: {": {
        "Poisson: {": "own_variants.Poisson: is 'Poisson', expected a name of small letters, digits and _, a letter fi",
        f"{'a' * 65}: {{": "expected at most 64 characters",
        "../poisson: {": "expected a name of small letters",
        "1: {": "own_variants.1: is 1, expected text",
        f"? {BITS}\n  : {{": "is a number of 20000 bits, expected text",
        "best_single: {": "own_variants.best_single: is the name of an arm that a search has, expected another name: r",
        "logistic_regression: {": "variants and references both hold logistic_regression, expected one of a name: rena",
    },
    "  large: {": {
        "  l2: {": "own_variants.l2: is a name of the catalogue, which fashion compares, too, expected another: rename",
    },
    "  large: {study: fashion,": {
        "  ? [a, b]\n  : {study: fashion,": "own_variants.('a', 'b'): is ('a', 'b'), expected text",
        "  large: {": "own_variants.large.study: is missing",
        "  large: {study: fashions,": "own_variants.large.study: is fashions, expected one of thoracic, fashion_small,",
    },
    "    epochs: 12\n    baseline: large\n": {
        "    epochs: 12\n": "large_ema_label_smoothing: differs from its baseline unregularized in its regularizers an",
        "    epochs: 12\n    baseline: larger\n": "own_variants.large_ema_label_smoothing: baseline is larger, "
        "expected one of the variants unregularized, l1, l2, l1_proximal, weight_decay, activity_l1, max_norm, "
        "unit_norm, batch_norm, dropout, label_smoothing, cutout, mixup, gaussian_noise, ema, early_stopping, "
        "tutorial, cocktail, large, large_ema_label_smoothing, 1 more: change it",
    },
    # the catalogue, and what studies change in it
    "  unregularized: {}\n": {
        "  unregularized: {}\n  1: {}\n": "variants.1: is 1, expected text",
        "  unregularized: {}\n  other: [l2]\n": "variants.other: is ['l2'], expected a mapping",
        "  unregularized: {}\n  best_single_l2: {}\n": "variants.best_single_l2: is the name of an arm that a search h",
        "  unregularized: {}\n  other: {loss: categorical_crossentropy}\n": "variants.other: in the study thoracic, lo",
        "  unregularized: {}\n  other: {hidden: [], regularizers: [dropout]}\n": "variants.other: in the study "
        "thoracic, dropout acts on layers []",
        "  unregularized: {}\n  other: {baseline: nobody}\n": "variants.other: in the study fashion, baseline is nobod",
        "  unregularized: {}\n  other: {epochs: 3, regularizers: [l2]}\n": "variants.other: in the study fashion, diff",
        "": "studies.thoracic: baseline is unregularized, expected one of the variants l1, l2, l1_proximal,",
    },
    "variants:\n  unreg": {
        "variants:\nmore:\n  unreg": "variants: is None, expected a mapping",
        "variants: {}\nmore:\n  unreg": "variants: is {}, expected at least one entry",
        f"variants:\n{''.join(f'  v{number}:' + chr(10) for number in range(200))}  unreg": "has 218 entries, expected",
    },
    "      l2: {path: [0.0001, 0.001, 0.003]}": {
        "      l2: [path]": "studies.fashion_small.variants.l2: is ['path'], expected a mapping",
        "      l2: {path: [-1]}": "studies.fashion_small.variants.l2: path holds -1.0, expected a number of at least 0",
        "      l2: {study: fashion}": "studies.fashion_small.variants.l2.study: is not a known key",
        "      l3: {}": "studies.fashion_small.variants.l3: is no variant of the catalogue, expected one under variant",
        "      1: {}": "studies.fashion_small.variants.1: is 1, expected text",
        "      l2: {baseline: nobody}": "studies.fashion_small.variants.l2: baseline is nobody, expected one of",
        "      l2: {regularizers: [mixup], loss: sparse_categorical_crossentropy}": "studies.fashion_small."
        "variants.l2: mixup goes with sparse_categorical_crossentropy",
    },
    # studies
    "studies:\n  #": {
        "studies:\nmore:\n  #": "studies: is None, expected a mapping",
        "studies: {x: null}\nmore:\n  #": "studies.x: is None, expected a mapping",
        "studies: {x: {}}\nmore:\n  #": "studies.x.baseline: is missing, expected a value: add it",
        "studies:\n  tutorial_fashion: {}\n  #": "tutorial.tutorial_fashion: stands under studies, too, expected it on",
    },
    "tutorial:\n  #": {
        "tutorial:\nmore:\n  #": "tutorial: is None, expected a mapping",
        "tutorial: {}\nmore:\n  #": "own_variants.softmax.study: is tutorial_fashion, expected one of thoracic, fashio",
    },
    "own_variants:\n": {
        "own_variants:\nmore:\n": "own_variants: is None, expected a mapping",
        "own_variants: {}\nmore:\n": "tutorial.tutorial_thoracic: baseline is mean_squared_logarithmic_error, "
        "expected one of the variants none: change it",
        "own_variants:\n  x: null\n": "own_variants.x: is None, expected a mapping",
        "own_variants:\n  x: {}\n": "own_variants.x.study: is missing",
    },
    "  tutorial_thoracic:": {
        f"  {'a' * 65}:": "expected at most 64 characters",
        "  Tutorial:": "tutorial.Tutorial: is 'Tutorial', expected a name of small letters",
    },
    "    baseline: mean_squared_logarithmic_error\n": {
        "    baseline: nobody\n": "tutorial.tutorial_thoracic: baseline is nobody, expected one of the variants mean_s",
        "": "tutorial.tutorial_thoracic.baseline: is missing",
    },
    "      callbacks: [terminate_on_nan]\n\n  # The tutorial's four": {
        "    variants: {l2: {}}\n\n  # The tutorial's four": "tutorial.tutorial_thoracic.variants.l2: is a change in "
        "the catalogue, expected none in a study of the tutorial: add it under own_variants",
        "    variants: [l2]\n\n  # The tutorial's four": "tutorial_thoracic.variants: is ['l2'], expected a mapping",
    },
    "    datasets: [fashion_mnist]\n": {
        "    datasets: 3\n": "studies.fashion_small.datasets: is 3, expected a list",
        "    datasets: []\n": "datasets: is [], expected at least one entry",
        "    datasets: [mnist]\n": "studies.fashion_small.datasets: holds mnist, expected some of thoracic_surgery, fa",
        "    datasets: [fashion_mnist, fashion_mnist]\n": "expected each entry at most once",
        "    datasets: [thoracic_surgery]\n": "studies.fashion_small: loss is categorical_crossentropy, expected one t",
        "    datasets: [fashion_mnist, thoracic_surgery]\n": "protocol.test is missing, expected the share of rows to",
        "    dataset: fashion_mnist\n": "studies.fashion_small.datasets: is missing",
    },
    "features: raw": {
        "features: RAW": "features: is 'RAW', expected a name",
        "features: rare": "tutorial.tutorial_thoracic.features: is rare, expected encoded or raw for thoracic_surgery",
    },
    "network: {hidden: [128], activation: relu}": {"network: none": "network: is 'none', expected a mapping"},
    "    training:\n": {"    training: [\n": "is not YAML"},
    "discrimination: accuracy": {
        "discrimination: auc": "scores.discrimination is auc, expected one of accuracy, brier, log_loss, "
        "calibration_error, as fashion_mnist has 10 classes: change it",
    },
    "probabilities: log_loss": {
        "probabilities: accuracy": "probabilities: is 'accuracy', expected one of brier, log_loss",
        "probabilities: brier": "statistics.equivalence: has no brier, expected the greatest difference that does not",
    },
    "select_by: log_loss": {"select_by: loss": "select_by: is 'loss', expected one of auc, accuracy,"},
    "references: []": {
        "references: []\n    select_by: auc": "studies.fashion: select_by is auc, expected one of accuracy, brier, log",
        "references: [knn]": "is 'knn', expected one of logistic_regression, random_forest",
        "references: [mlp, mlp]": "is ['mlp', 'mlp'], expected each entry at most once",
        "references: [random_forest]\n    reference_strengths: {mlp: [0.5]}": "studies.fashion: reference_strengths "
        "names mlp, expected one of the study's references ['random_forest']: add it there or remove its strengths",
        "references: [mlp]\n    reference_strengths: {mlp: 5}": "reference_strengths.mlp: is 5, expected a list",
    },
    "  mlp: [": {
        "  mlp: []\n  svm: [": "references.mlp: is [], expected at least one entry",
        "  mlp: [0.1]\n  svm: [": "references.svm: is not a known key",
    },
    "  random_forest: [": {
        "  random_forest: [2.5, ": "random_forest.0: is 2.5, expected a whole number",
        "  random_forest: [30, ": "expected each entry at most once: remove the repetition",
    },
    "confidence: 0.95": {"confidence: 0.5": "statistics.confidence: is 0.5, expected a number greater than 0.5"},
    "    auc: 0.01": {
        "    auc: -0.01": "equivalence.auc: is -0.01, expected a number of at least 0",
        "    auk: 0.01": "statistics.equivalence.auk: is 'auk', expected one of auc, accuracy, average_precision, br",
    },
    # searches
    "      points: 64\n": {
        "      points: 1\n": "search.points: is 1, expected a number of at least 2",
        "      points: 65537\n": "search.points: is 65537, expected a number of at most 65,536",
        "      points: 2.5\n": "search.points: is 2.5, expected a whole number",
        "      points: 8\n": "variants.cocktail.search: average is 12, expected at most the 8 points: lower it",
        "": "search.points: is missing, expected a value",
    },
    "      off: 0.3\n": {
        "      off: 1\n": "search.off: is 1, expected a number less than 1",
        f"      off: 1{'0' * 400}\n": "search.off: is a number of 1329 bits, expected a number",
    },
    "      average: 12\n": {
        "      average: 1\n": "search.average: is 1, expected a number of at least 2",
        f"      average: {'x' * 5000}\n": "search.average: is 'xxxx",
    },
    "      l2: [0.001, 0.1]\n": {
        f"      l2: [0, 1{'0' * 400}]\n": "search.l2: is [0, a number of 1329 bits], expected [least strength, greates",
        "      l2: [0.1, 0.001]\n": "search.l2: is [0.1, 0.001], expected the smaller strength first, and two that dif",
        "      l2: [0, 0.1]\n": "search.l2: is [0, 0.1], expected a least strength greater than 0 on a scale that is "
        "log: change it (`off` says in which share of points it is 0), or write [0, 0.1, linear]",
        "      l2: 0.1\n": "search.l2: is 0.1, expected [least strength, greatest strength], and as a third entry one "
        "of linear, log, momentum for another scale than log: change it",
        "      l2: [.nan, 0.1]\n": "search.l2: is [nan, 0.1], expected [least strength, greatest",
        "      l2: [true, 2]\n": "search.l2: is [True, 2], expected [least strength, greatest",
        "      l2: [1, 2, cubic]\n": "search.l2: is [1, 2, 'cubic'], expected [least strength, greatest",
        "      l2: [1, 2, {log: 1}]\n": "search.l2: is [1, 2, {'log': 1}], expected [least strength, greatest",
        "      l2: [1, 2, [log]]\n": "search.l2: is [1, 2, ['log']], expected [least strength, greatest",
        "      l2: [0.1, 2, momentum]\n": "expected a greatest strength less than 1 on a scale",
        "      l2: [-1, 0.1, linear]\n": "search.l2: l2 holds -1, expected a number of at least 0",
        "      l3: [0.001, 0.1]\n": "search.l3: is not a known key",
        "      mixup: [0.1, 1]\n": "variants.cocktail: search names mixup, expected one of the variant's regularizers",
    },
    "      dropout: [0, 0.8]\n": {
        "      dropout: [0, 1]\n": "search.dropout: dropout holds 1, expected a number of at least"
    },
    "      max_norm: [0.1, 3]\n": {
        "      max_norm: [0, 3, linear]\n": "search.max_norm: max_norm holds 0, expected a number"
    },
    "      cutout: [0, 0.9]\n": {
        "      early_stopping: [2.5, 9]\n": "search.early_stopping: early_stopping holds 2.5, expected a whole number",
        "      cutout: [0, 0.9]\n    path: [1]\n": "has a path and a search, expected at most one of the two: remove t",
    },
    "        search: null": {
        "        search: 5": "studies.fashion.variants.cocktail.search: is 5, expected a mapping",
        "        search: {points: 4, off: 0}": "studies.fashion.variants.cocktail.search: names no regularizer, expect",
        "        search: {? [a, 2020-01-01] : 1}": "expected text for every key",
    },
    # data sets
    "  thoracic_surgery: {kind: thoracic_surgery}\n": {
        f"  thoracic_surgery: {entry}\n": message
        for entry, message in {
            "{kind: table, file: /etc/passwd, target: y}": "file: is '/etc/passwd', expected a file in data/source, su",
            "{kind: table, file: data/source/../x, target: y}": "expected a file in data/source",
            "{kind: table, file: data/source/none.csv, target: y}": "data/source/none.csv cannot be read (No such file",
            f"{{kind: table, file: data/source/{'x' * 200}.csv, target: x}}": "expected at most 200 characters",
            f"{{{TABLE}}}": "datasets.thoracic_surgery.target: is missing",
            f"{{{TABLE}, target: ''}}": "at least one character",
            f"{{{TABLE}, target: x, drop: [a, a]}}": "at most once",
            f"{{{TABLE}, target: x, drop: [x]}}": "expected one of them",
            "{kind: tables}": "datasets.thoracic_surgery: is {'kind': 'tables'}, expected a kind among",
            "{}": "datasets.thoracic_surgery: is {}, expected a mapping with a kind",
            "": "datasets.thoracic_surgery: is None, expected a mapping",
            "[table]": "datasets.thoracic_surgery: is ['table'], expected a mapping",
        }.items()
    },
    "datasets:\n": {
        "datasets: {}\nmore:\n": "datasets: is {}, expected at least one entry",
        "datasets:\n  ? [a, b]\n  : 1\n": "datasets.('a', 'b'): is ('a', 'b'), expected text",
    },
    # the audit
    "    C2:   ": {"    C99:  ": "audit.rules.C2 holds none, expected norm: change it"},
    "    C3:   ": {"    C99:  ": "audit.rules.C99 holds log_loss, over_bound, expected no such entry: change it"},
    "norm: {matters: 0.1}": {
        "size: {matters: 0.1}": "audit.rules.C2 holds size, expected norm: change it",
        "norm: {}": "audit.rules.C2.norm: holds nothing, expected exactly one of matters",
    },
    "{kind: decay, study: thoracic, variants: [l2], replicates: 10,": {
        "{kind: delay, study: thoracic, variants: [l2],": "experiments.decay.kind: is 'delay', expected one of stoppin",
        "{kind: decay, study: none, variants: [l2],": "experiments.decay.study: is none, expected one of thoracic, fas",
        "{kind: decay, study: thoracic, variants: [l7],": "experiments.decay.variants: holds l7, expected some of unre",
        "{kind: decay, study: thoracic, variants: [],": "experiments.decay.variants: is [], expected at least one entr",
        "{kind: decay, study: thoracic, variants: [l2], replicates: 99,": "experiments.decay.replicates: is 99, "
        "expected at most the 50 of the study thoracic: lower it",
    },
}
WHOLE = ("has more than", "is not YAML")  # told of the file
ELSEWHERE = (
    "uses",
    "stands under",
    "has no",
    "both hold",
    "layers [3]",
    "unregularized, exp",
    "softmax.study",
    "none:",
)
CASES = [(old, new, message) for old, edits in EDITS.items() for new, message in edits.items()]


def tell(text: str, machine: Machine | None = None) -> list[str]:
    """What is told of a text, line by line."""
    with pytest.raises(ParamsError) as caught:
        plan.run(text, read, machine=machine)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("old", "new", "message"), CASES, ids=range(len(CASES)))
def test_every_mistake_is_told_in_one_short_line_with_its_place(
    params_text: str, old: str, new: str, message: str
) -> None:
    told = tell(replace(params_text, (old, new)))
    lines = [re.fullmatch(r"params\.yaml(?:, line (\d+))?: (.*)", line) for line in told]
    assert all(lines), told
    places = [match[1] for match in lines if match and message in match[2]]
    assert places, told
    assert all(len(line) < 900 for line in told)
    assert all(places) or any(words in message for words in WHOLE)
    first = params_text[: params_text.index(old)].count("\n") + 1
    if not any(words in message for words in ELSEWHERE + WHOLE):
        assert any(first - 25 <= int(place) <= first + 30 for place in places if place), told


def test_one_mistake_hides_no_other(params_text: str) -> None:
    """Of a field, of a study by itself, of its data, of a callback, of a search and of a table, all in one go."""
    text = replace(
        params_text,
        ("seed: 3", "seed: -3"),
        ("\ndropout: 0.5", "\ndropout: 1.5\ndropuot: 1"),
        ("batch_size: 30", "batch_size: 0"),
        ("layers: {dropout: [1]}", "layers: {dropout: [7]}"),
        ("regularizers: [l2, activity_l1]}", "regularizers: [l2, l2], path: [1]}"),
        ("references: []", "references: [large]"),
        (
            "thoracic_surgery: {kind",
            "mine: {kind: table, file: data/source/none.csv, target: y}\n  thoracic_surgery: {kind",
        ),
        ("    monitor: val_loss       # loss", "    monitor: val_auc  # loss"),
        ("training: 2000", "training: 999999"),
        ("points: 64", "points: 0"),
        ("l2: [0.001, 0.1]\n", "l2: [1, 0.1]\n      l3: [1, 2]\n"),
        ("epochs: 100\n", "epochs: 0\n"),
    )
    told = "\n".join(tell(text))
    for words in (
        "seed: is -3",
        "dropout: is 1.5",
        "dropuot: is not a known key",
        "batch_size: is 0",
        "dropout acts on layers [7]",
        "regularizers names one twice",
        "path goes with 2 regularizers",
        "references.0: is 'large'",
        "datasets.mine: data/source/none.csv cannot be read",
        "callbacks.early_stopping.monitor is val_auc",
        "protocol.training is 999999",
        "search.points: is 0",
        "search.l2: is [1, 0.1]",
        "search.l3: is not a known key",
        "thoracic.training.epochs: is 0",
    ):
        assert words in told, words


def test_the_line_is_that_of_the_key(params_text: str) -> None:
    for old, new in (
        ("dropout: 0.5 ", "dropout: 2 "),
        ("      epochs: 1\n", "      epochs: 0\n"),
        ("    min_lr: 0", "    min_lr: -1"),
        ("      l2: {path: [0.0001", "      l2: {path: [-1"),
        ("    baseline: softmax", "    baseline: 3"),
        ("  l2_activity_l1: {", "  l2_activity_l1: {path: [-1], "),
    ):
        (told,) = tell(replace(params_text, (old, new)))
        assert told.startswith(f"params.yaml, line {params_text[: params_text.index(old)].count(chr(10)) + 1}: "), told


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
)
FILES: dict[str, tuple[bytes, str]] = {
    "alias bomb": (BOMB.encode(), "has more than 20,000 values"),
    "brackets": (b"[" * 100_000, "is nested more than 24 levels deep"),
    "many values": (b"a: [" + b"1," * 60_000 + b"]", "has more than 20,000 values"),
    "many keys": (b"".join(b"k%d: 1\n" % number for number in range(9000)), "more mistakes: mend these first"),
    "too long": (b"#" * 200_000, "has more than 131,072 bytes"),
    "latin": ("seed: 3  # gewählt".encode("latin-1"), "line 1: is not UTF-8 text"),
    "utf-16": ("seed: 3".encode("utf-16"), "line 1: is not UTF-8 text"),
    "empty": (b"", "line 1: is None, expected a mapping"),
    "a list": (b"- a\n", "line 1: is ['a'], expected a mapping"),
    "zeros": (bytes(1000), "is not YAML"),
    "digits": (b"seed: " + b"9" * 100_000, "holds a value that is none"),
    "a tag": (b"seed: 3\nl1: !!bool maybe\n", "line 2: has the tag 'tag:yaml.org,2002:bool', expected none"),
    "a tag of its own": (b"seed: !python/name:os.system\n", "line 1: has the tag '!python/name:os.system'"),
    "no date behind numbers": (b"a: [" + b"1," * 19_000 + b"]\nb: 2020-13-45\n", "line 2: holds a value that is none"),
}


def start_plan(folder: Path) -> tuple[subprocess.CompletedProcess[str], int]:
    """`python -m stages.plan` in `folder`, and the megabytes that it took."""
    return run_measured('import runpy; runpy.run_module("stages.plan", run_name="__main__", alter_sys=True)', folder)


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_any_file_is_answered_within_little_time_and_memory(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    done, megabytes = start_plan(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml")
    assert message in done.stderr and len(done.stderr) < 4100
    assert megabytes < 500


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for make, message in (
        (lambda: None, "error: .*params.yaml is missing"),
        (lambda: os.mkfifo(path), "error: .*params.yaml is no plain file"),
        (lambda: (path.unlink(), path.mkdir()), "error: params.yaml (is no plain file|Is a directory)"),
    ):
        make()
        done, _ = start_plan(tmp_path)
        assert done.returncode == 1
        assert re.match(message, done.stderr)


def test_a_short_file_that_asks_for_many_runs_is_refused(params_text: str) -> None:
    names = [f"d{number}" for number in range(150)]
    text = replace(
        params_text,
        ("datasets:\n", "datasets:\n" + "".join(f"  {name}: {{kind: fashion_mnist}}\n" for name in names)),
        ("variants:\n", "variants:\n" + "".join(f"  v{number}:\n" for number in range(50))),
        ("datasets: [fashion_mnist]", f"datasets: [{', '.join(names)}]"),
    )
    (told,) = tell(text)
    assert "studies: train 10,352 variants on data sets, expected at most 5,000: name fewer of either" in told


def test_what_the_machine_cannot_hold_is_refused_in_words(params_text: str) -> None:
    for machine, words in (
        (Machine(memory=6e7, disk=1e12), "of memory"),
        (Machine(memory=1e12, disk=1e3), "on the disk"),
    ):
        *told, more = tell(params_text, machine=machine)
        assert all(f"GB {words}" in line for line in told) and more.endswith("more mistakes: mend these first")
        needs = r": \w+ trains [\d,]+ networks, which need at least \d\.\d GB .*, expected at most the 0\.\d GB that "
        mend = "this machine has: lower repeats or seeds, the entries of the path, hidden or epochs"
        assert all(re.search(needs + mend, line) for line in told)
    plan.run(params_text, read, machine=Machine(memory=4e9, disk=4e9))


WIDE = b",".join([b"y", *(b"c%d" % number for number in range(3000))]) + b"\n" + (b"a" + 3000 * b",x" + b"\n") * 2


def test_a_table_that_cannot_be_used_is_told_in_few_words(
    params_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project/data/source"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "outside.csv").write_text("y,x\na,1\nb,2\n")
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "wide.csv").write_bytes(WIDE)
    (folder / "large.csv").touch()
    os.truncate(folder / "large.csv", 200_000_000)
    for name, words in {
        "link": "(leads out of the project), expected a CSV file: copy your table there",
        "wide": "more mistakes: mend these first",
        "large": "(has more than 33,554,432 bytes), expected a CSV file: leave out rows or columns",
    }.items():
        old, entry = "datasets:\n", f"datasets:\n  mine: {{kind: table, file: data/source/{name}.csv, target: y}}\n"
        with pytest.raises(ParamsError, match=re.escape(words)) as caught:
            plan.run(replace(params_text, (old, entry)), plan.read_source)
        assert f"datasets.mine: data/source/{name}.csv " in str(caught.value)
        assert len(str(caught.value)) < 4000


def test_text_is_decoded_with_the_line_of_its_fault() -> None:
    with pytest.raises(TextError, match="line 3: is not UTF-8 text"):
        decode(b"a\nb\n\xff")
    with pytest.raises(TextError, match="has 2,000,000 bytes, expected at most 131,072"):
        decode(bytes(2_000_000))


def test_few_of_many_names_are_told() -> None:
    names = [f"name_{number}" for number in range(NUM_NAMED + 1)]
    assert (name_some("abc"), name_some([])) == ("a, b, c", "none")
    assert name_some(names[:-1]) == ", ".join(names[:-1])
    assert name_some(names) == ", ".join([*names[:-1], "1 more"])


def test_any_change_of_any_key_gives_plans_or_mistakes_in_words() -> None:
    assert sum(fuzz(200).values()) >= 200
