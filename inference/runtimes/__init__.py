"""What runs the network: torch, onnxruntime, TensorRT; which of them, and what they keep.

Face: `cache`, `choice`, `engines`, `onnx_model`, `runtimes`.
"""
