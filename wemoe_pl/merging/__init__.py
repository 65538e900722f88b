"""Define the merge methods: small objects that make one encoder of a pretrained one and experts.

A static method returns a frozen encoder. WEMoE and AdaMerging return an encoder whose routers or
coefficients require gradients. All later steps (adapting, scoring, logging) rely only on that.
"""
