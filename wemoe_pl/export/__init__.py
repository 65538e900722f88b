"""Export a merged model: as an adapter, as a bundle, and for timm, Hugging Face, ONNX and torch."""
