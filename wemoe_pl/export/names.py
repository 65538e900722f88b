"""List the names of the formats of exports, without importing torch."""

EXPORT_FORMATS = ("adapter", "bundle", "timm", "hf", "peft", "onnx", "torch-export", "aoti")
