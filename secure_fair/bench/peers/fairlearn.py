"""The methods of fairlearn: reductions, thresholds by group, and an adversary."""

from __future__ import annotations

import math

import numpy as np

from secure_fair.bench.peers.parts import Parts, Sample
from secure_fair.bench.peers.peer import Peer, Rule

BATCH, STEPS = 2**8, 1500  # of the adversarial training


class Reductions(Peer):
    """Exponentiated gradient (arXiv 1803.02453): a randomised mixture of reweighted logistic regressions."""

    name = "ExponentiatedGradient"
    module = package = "fairlearn"
    knob = "difference_bound"
    path = (0.005, 0.02, 0.04, 0.08)

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """The mixture whose selection rates lie within the bound; a prediction is drawn from it."""
        from fairlearn.reductions import DemographicParity, ExponentiatedGradient

        constraint = DemographicParity(difference_bound=setting)
        model = ExponentiatedGradient(parts.logistic(), constraint, eps=min(setting, 0.01))
        model.fit(parts.fit.features, parts.fit.labels, sensitive_features=parts.fit.groups)
        return lambda part: np.asarray(model.predict(part.features, random_state=seed))


class Thresholds(Peer):
    """Thresholds by group on one logistic regression (arXiv 1610.02413), randomised between two of them."""

    name = "ThresholdOptimizer"
    module = package = "fairlearn"
    knob = "tol"
    path = (0.0, 0.02, 0.05, 0.1, 0.15)
    attribute_given = True

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """The most accurate thresholds whose selection rates differ by ``tol`` at most on the fit records."""
        from fairlearn.postprocessing import ThresholdOptimizer

        model = ThresholdOptimizer(
            estimator=parts.logistic().fit(parts.fit.features, parts.fit.labels),
            constraints="demographic_parity",
            prefit=True,
            predict_method="predict_proba",
            tol=setting or None,
        )
        model.fit(parts.fit.features, parts.fit.labels, sensitive_features=parts.fit.groups)

        def rule(part: Sample) -> np.ndarray:
            return np.asarray(model.predict(part.features, sensitive_features=part.groups, random_state=seed))

        return rule


class AdversarialDebiasing(Peer):
    """Adversarial debiasing (arXiv 1801.07593) of a linear predictor, with the adversary of fairlearn's own example.

    fairlearn 0.15 projects the task's gradient tensor by tensor, which leaves nothing of a bias, a single number: a
    feature that is 1 everywhere is the intercept instead.
    """

    name = "AdversarialFairness"
    module = package = "fairlearn"
    knob = "alpha"
    path = (1.0, 3.0, 10.0)

    def fit(self, parts: Parts, setting: float, seed: int) -> Rule:
        """The predictor against an adversary that sees its logit."""
        from fairlearn.adversarial import AdversarialFairnessClassifier

        batches = math.ceil(len(parts.fit.labels) / BATCH)
        model = AdversarialFairnessClassifier(
            backend="torch",
            predictor_model=[],
            adversary_model=[3, "leaky_relu"],
            learning_rate=1e-3,
            batch_size=BATCH,
            epochs=math.ceil(STEPS / batches),
            alpha=setting,
            shuffle=True,
            random_state=seed,
        )
        model.fit(_with_intercept(parts.fit), parts.fit.labels, sensitive_features=parts.fit.groups)
        return lambda part: np.asarray(model.predict(_with_intercept(part))).ravel().astype(np.int64)


def _with_intercept(part: Sample) -> np.ndarray:
    return np.hstack([part.features, np.ones((len(part.features), 1))]).astype(np.float32)
