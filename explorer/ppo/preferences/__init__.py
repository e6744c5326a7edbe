"""Preferences: comparisons of responses, the reward model that is learnt from them, and a simulated annotator.

prompts, texts -> Comparison -> LabelFile                      who preferred what, on disk as it is said
Features(reference, draw_pool(reference, ...))                 what a head reads of a text
fit_reward_model(features, comparisons) -> RewardModel         a reward component, and how sure it is
choose_pairs(pool, 10, way="disagreement", model=model)        what to ask about next
recipe_of(model, reference)                                    the model as a component that a Config can hold
"""

from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.choosing import ChosenPair, choose_pairs
from explorer.ppo.preferences.comparisons import CHOICES, Comparison, PreferenceError
from explorer.ppo.preferences.contradictions import Contradictions, find_contradictions
from explorer.ppo.preferences.evaluation import Evaluation
from explorer.ppo.preferences.features import Block
from explorer.ppo.preferences.fitting import recipe_from_labels
from explorer.ppo.preferences.label_file import BadLine, LabelFile, Labels, read_labels
from explorer.ppo.preferences.learned import Learned, recipe_of
from explorer.ppo.preferences.pool import Pool, asked_pairs, draw_pool
from explorer.ppo.preferences.reward_model import RewardModel, fit_reward_model
from explorer.ppo.preferences.rules import RULES
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.preferences.storing import load_reward_model, save_reward_model
from explorer.ppo.preferences.tuned_trunk import tune

__all__ = [
    "CHOICES",
    "RULES",
    "BadLine",
    "Block",
    "ChosenPair",
    "Comparison",
    "Contradictions",
    "Evaluation",
    "Features",
    "LabelFile",
    "Labels",
    "Learned",
    "Pool",
    "PreferenceError",
    "RewardModel",
    "SimulatedAnnotator",
    "asked_pairs",
    "choose_pairs",
    "draw_pool",
    "find_contradictions",
    "fit_reward_model",
    "load_reward_model",
    "read_labels",
    "recipe_from_labels",
    "recipe_of",
    "save_reward_model",
    "tune",
]
