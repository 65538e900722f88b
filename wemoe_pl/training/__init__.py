"""Adapt merged models, train experts, merge from samples and score, by LightningModules."""
