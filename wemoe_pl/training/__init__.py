"""LightningModules: adapt routers, train experts, merge from samples, and score."""
