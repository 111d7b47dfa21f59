"""Backbones, LoRA adapters, fairness methods and the training loop."""
