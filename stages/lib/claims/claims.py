"""The table of claims (C), defects (D) and printed figures (T): what is said, how it is measured, what judges it."""

from __future__ import annotations

from stages.lib.claims import defects, losses, printed, regularization
from stages.lib.claims.judging import Claim

CLAIMS: dict[str, Claim] = {
    "C1": Claim(
        "When the loss has not fallen for several epochs the network is overfitting, and stopping there helps.",
        "Early stopping at its knob against the same budget of epochs; and the loss of rows that stopping has not "
        "seen, at the stop and at the end.",
        regularization.stopping_helps,
        ("log_loss", "overfitting"),
    ),
    "C2": Claim(
        "Weight decay keeps weights from growing large.",
        "The norm of all kernels under L2 and under decoupled decay, against none; along their paths as well.",
        regularization.decay_keeps_weights_small,
        ("norm",),
    ),
    "C3": Claim(
        "A weight constraint limits the size of the weights, and it does better than plain decay.",
        "All bounded units of all networks against their bounds; the tutorial's constraint against its decay over the "
        "seeds; the share of units at the bound and its effect over a grid of bounds.",
        regularization.constraint_limits_weights,
        ("over_bound", "accuracy"),
    ),
    "C4": Claim(
        "Dropout trains many thinned networks in one, and all units together act like an ensemble of them.",
        "A dropout network with all units, against the mean of thinned passes of the same network, and against thinned "
        "networks that were trained separately.",
        regularization.units_act_like_an_ensemble,
        ("log_loss", "one_pass"),
    ),
    "C5": Claim(
        "Dropout and the penalties reduce overfitting.",
        "The gap between held-out and training loss, and the held-out loss, of each against none.",
        regularization.penalties_reduce_overfitting,
        ("gap", "log_loss"),
    ),
    "C6": Claim(
        "Batch normalisation helps learning.",
        "Training loss over equal steps, and held-out loss, with and without it.",
        regularization.batch_norm_helps_learning,
        ("training_loss", "log_loss"),
    ),
    "C7": Claim(
        "A squared loss is moved more by outliers than an absolute loss.",
        "FEV1 from FVC and age by both losses with a growing share of outliers in the training rows, judged on clean "
        "rows; Fashion-MNIST by both losses with a growing share of flipped labels.",
        losses.squared_loss_is_moved_more,
        ("error", "accuracy"),
    ),
    "C8": Claim(
        "Where outliers may be ignored the absolute loss is the better one, where they matter the squared loss.",
        "The same networks, on clean rows and on rows with as many outliers as those of training.",
        losses.each_loss_has_its_place,
        ("clean", "with_outliers", "accuracy"),
    ),
    "C9": Claim(
        "L1 drives the weights of useless features to zero, so it selects features; L2 does not.",
        "Thoracic Surgery with columns of pure noise: whose first-layer weights are all 0?",
        regularization.l1_selects_features,
        ("l1_found", "l1_selects", "l2_found"),
    ),
    "C10": Claim(
        "The closer lambda is to 0, the weaker is the effect of regularisation.",
        "The gap between held-out and training loss along each path, no penalty included.",
        regularization.weaker_towards_zero,
        ("in_order",),
    ),
    "C11": Claim(
        "The L1 penalty is not differentiable at 0, so gradient methods need care with it.",
        "Weights that are exactly 0 by a proximal step, and by the gradient of the penalty.",
        regularization.l1_needs_care,
        ("exact_zeros",),
    ),
    "C12": Claim(
        "L2 regularisation is weight decay.",
        "L2 of strength lambda against decoupled decay of 2 lambda from the same start on the same batches, in double "
        "precision, under plain gradient descent and under Adam.",
        regularization.l2_is_weight_decay,
        ("weights",),
    ),
    "D1": Claim(
        "Accuracy on the training rows flatters: it is higher than on unseen patients.",
        "The tutorial's network on its training rows and on held-out patients.",
        defects.training_rows_flatter,
        ("accuracy",),
    ),
    "D2": Claim(
        "Accuracy says little here: the network does no better than the answer that nobody dies.",
        "Held-out accuracy of the tutorial's network against that of the majority answer.",
        defects.accuracy_hides_the_majority,
        ("accuracy",),
    ),
    "D3": Claim(
        "The patient id, fed unscaled beside flags, harms the network.",
        "The tutorial's network with and without that column.",
        defects.id_harms,
        ("log_loss",),
    ),
    "D4": Claim(
        "The label marks who died within a year, not who survived.",
        "The share of label 1 among the patients with the largest and with the smallest tumours.",
        defects.label_is_death,
        ("risk",),
    ),
    "D5": Claim(
        "The fourteen FEV1 values in another unit harm the network.",
        "The tutorial's network with these values as they are, and with what FVC and age predict in their place.",
        defects.wrong_units_harm,
        ("log_loss",),
    ),
    "D6": Claim(
        "Test images that serve as validation data flatter the result on them.",
        "The softmax recipe over many epochs: accuracy at the epoch that the very rows choose, and at the one that "
        "other rows choose.",
        defects.choosing_on_test_images_flatters,
        ("accuracy",),
    ),
    "D7": Claim(
        "One run of each recipe cannot rank the recipes.",
        "How often one run ranks them otherwise than the tutorial; the sampling error of one run.",
        defects.one_run_cannot_rank,
        ("other_ranking", "sampling_error"),
    ),
    "D8": Claim(
        "After one epoch there is nothing to overfit yet, so penalties can only slow learning down.",
        "Gap and held-out loss of the recipes after their one epoch; the same on few images after many epochs.",
        defects.one_epoch_leaves_nothing_to_overfit,
        ("gap", "log_loss"),
    ),
    "D9": Claim(
        "MaxNorm 2 hardly ever binds.",
        "Units at the bound after the epoch, and the norms that units start with; other bounds beside it.",
        defects.bound_hardly_binds,
        ("at_bound", "start_norm"),
    ),
    "T1": Claim(
        "The network for patients gives the accuracy that is printed for it.",
        "The tutorial's network trained on all patients, from several starts.",
        printed.network_gives_its_accuracy,
        ("accuracy",),
    ),
    "T2": Claim(
        "The four recipes for images have the numbers of weights that are printed for them.",
        "All weights of one network of each.",
        printed.recipes_have_their_weights,
        ("parameters",),
    ),
    "T3": Claim(
        "The four recipes for images give the accuracy that is printed for them.",
        "The interval that holds one more run of ours, from the accuracy of all seeds, against the printed one.",
        printed.recipes_give_their_accuracy,
        ("accuracy",),
    ),
}
