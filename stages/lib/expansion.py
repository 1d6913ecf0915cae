"""Params turned into plans: every default filled in, and nothing in a plan that does not shape its result."""

from collections.abc import Sequence

from stages.lib import plans
from stages.lib.catalogue import DATASETS, REGULARIZERS
from stages.lib.params import CallbacksParams, Params
from stages.lib.studies import FixedTestParams, KFoldParams, Recipe, VariantParams, layers_of


def split_plan(params: Params, study_name: str) -> plans.SplitPlan:
    study = params.studies[study_name]
    return plans.SplitPlan(study_name, study.dataset, study.features, protocol_plan(study.protocol), params.seed)


def protocol_plan(protocol: KFoldParams | FixedTestParams) -> plans.Protocol:
    if isinstance(protocol, KFoldParams):
        replicates = protocol.folds * protocol.repeats
        return plans.Protocol(protocol.kind, replicates, protocol.folds, None, protocol.validation)
    return plans.Protocol(protocol.kind, protocol.seeds, 1, protocol.training, protocol.validation)


def statistics_plan(params: Params) -> plans.StatisticsPlan:
    equivalence = plans.Equivalence(**params.statistics.equivalence.model_dump())
    return plans.StatisticsPlan(params.statistics.confidence, equivalence)


def study_plan(params: Params, study_name: str) -> plans.StudyPlan:
    study = params.studies[study_name]
    return plans.StudyPlan(
        study_name,
        study.dataset,
        study.baseline,
        study.primary,
        study.select_by or study.primary,
        protocol_plan(study.protocol),
        params.seed,
        tuple(study.variants),
        tuple(study.references),
    )


def reference_plan(params: Params, study_name: str) -> plans.ReferencePlan:
    study, strengths = params.studies[study_name], params.references.model_dump()
    return plans.ReferencePlan(
        study=study_name,
        seed=params.seed,
        outputs=DATASETS[study.dataset].outputs,
        select_by=study.select_by or study.primary,
        models=tuple(plans.ReferenceModel(name, tuple(strengths.get(name, [0.0]))) for name in study.references),
    )


def run_plan(params: Params, study_name: str, variant_name: str) -> plans.RunPlan:
    """One variant with everything that shapes its networks, and nothing else: what is absent here retrains nothing."""
    study = params.studies[study_name]
    variant = study.variants[variant_name]
    recipe = study.recipe(variant)
    names = [name for name in REGULARIZERS if name in variant.regularizers]  # one order, whatever params.yaml says
    if recipe.optimizer == "adamw" and "weight_decay" not in names:
        names.append("weight_decay")
    return plans.RunPlan(
        study=study_name,
        variant=variant_name,
        seed=params.seed,
        replicates=tuple(range(protocol_plan(study.protocol).replicates)),
        primary=study.primary,
        network=plans.NetworkPlan(tuple(recipe.hidden), recipe.activation, DATASETS[study.dataset].outputs),
        regularizers=tuple(regularizer_plan(params, name, recipe, variant) for name in names),
        callbacks=callbacks_plan(params.callbacks, names, recipe.callbacks),
        loss=recipe.loss,
        optimizer=plans.OptimizerPlan(
            "adam" if recipe.optimizer == "adamw" else recipe.optimizer, recipe.learning_rate, recipe.momentum
        ),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
    )


def regularizer_plan(params: Params, name: str, recipe: Recipe, variant: VariantParams) -> plans.RegularizerPlan:
    """A path is one of the regulariser that the variant names, not of the weight decay that adamw brings along."""
    knob, path = params.knob(name), variant.path if name in variant.regularizers else []
    strengths = (knob, *(strength for strength in sorted(set(path)) if strength != knob))
    return plans.RegularizerPlan(name, strengths, layers_of(name, recipe))


def callbacks_plan(callbacks: CallbacksParams, names: list[str], chosen: Sequence[str]) -> plans.CallbacksPlan:
    stopping = callbacks.early_stopping.model_dump(exclude={"patience"})
    return plans.CallbacksPlan(
        early_stopping=plans.EarlyStopping(**stopping) if "early_stopping" in names else None,
        checkpoint=plans.Checkpoint(**callbacks.checkpoint.model_dump()) if "checkpoint" in chosen else None,
        reduce_lr_on_plateau=plans.ReduceLrOnPlateau(**callbacks.reduce_lr_on_plateau.model_dump())
        if "reduce_lr_on_plateau" in chosen
        else None,
        terminate_on_nan="terminate_on_nan" in chosen,
    )
