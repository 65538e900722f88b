"""The names of the formats of exports, known without importing torch."""

EXPORT_FORMATS = ("adapter", "bundle", "timm", "hf", "onnx", "torch-export")
