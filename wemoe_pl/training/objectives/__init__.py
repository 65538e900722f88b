"""Define objectives: small objects that say what adaptation minimises, without any label."""
