"""The product: one merged encoder with the head of every task, and how it is built again."""
